"""Checks of the systemd sandbox of each service, and of onnxruntime's telemetry.

The properties are read from systemd itself, because a drop-in can override the units.
"""

import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from listener.system.findings import Check, Finding
from listener.system.systemctl import run_systemctl

Show = Callable[[str], Mapping[str, str]]
"""Returns the properties of a unit; empty without systemd."""

HEAR, SEND = "earmark-hear.service", "earmark-send.service"
PLAY, ASSIST = "earmark-play.service", "earmark-assist.service"
ARCHIVE: Final = "earmark-archive.service"
TELEMETRY_OFF: Final = "ORT_DISABLE_TELEMETRY=1"

_EACH: Final = {
    "NoNewPrivileges": "yes",
    "MemoryDenyWriteExecute": "yes",
    "ProtectSystem": "strict",
    "DevicePolicy": "closed",
    "LimitCORE": "0",
    "MemorySwapMax": "0",
}
WANTED: Final[Mapping[str, Mapping[str, str]]] = {
    HEAR: {**_EACH, "PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX"},
    SEND: {**_EACH, "PrivateDevices": "yes"},
    PLAY: {**_EACH, "PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX"},
    ARCHIVE: {**_EACH, "PrivateDevices": "yes"},
    ASSIST: {**_EACH, "PrivateDevices": "yes"},
}
SPEAKER: Final = frozenset({HEAR, SEND})
"""Services of each speaker."""
_ALSO: Final = ("LoadState", "MainPID", "User", "Environment")
_PATIENCE_S: Final = 10.0


def show_unit(unit: str) -> Mapping[str, str]:
    """Return a unit's properties from systemctl; empty if it cannot be run."""
    names = ",".join((*_ALSO, *WANTED[unit]))
    try:
        shown = run_systemctl(
            "show", "--no-pager", f"--property={names}", unit, timeout_s=_PATIENCE_S
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    parts = (line.partition("=") for line in shown.splitlines())
    return {name: value for name, _, value in parts}


def check_sandbox(ask: Show = show_unit, required: Collection[str] = SPEAKER) -> Iterator[Finding]:
    """Compare the effective sandbox of the services with the one in Earmark's units.

    Args:
        ask: returns the properties of a unit.
        required: units that are checked always; the others are checked where they run.
    """
    for unit, wanted in WANTED.items():
        name = unit.removesuffix(".service")
        actual = ask(unit)
        if unit not in required and not is_running(actual):
            continue
        if not is_loaded(actual):
            yield Check("sandbox").warn(
                f"{name} is not a service here, so it has only its own restrictions",
                "install the package earmark, which has the service with its sandbox",
            )
            continue
        loose = [
            f"{key}={actual.get(key, '')}"
            for key, value in wanted.items()
            if actual.get(key) != value
        ]
        if actual.get("User", "") in ("", "root"):
            loose.insert(0, "User=root")
        check = Check("sandbox", {"unit": name, "loose": len(loose)})
        if loose:
            yield check.fail(
                f"{name} is less restricted than required: {', '.join(loose)}",
                f"find the drop-in that overrides it: systemctl cat {unit}",
            )
        else:
            yield check.ok(f"{name}: {len(wanted)} of {len(wanted)} restrictions are in effect")


def check_telemetry(
    root: Path, ask: Show = show_unit, version_of: Callable[[str], str] = metadata.version
) -> Finding:
    """Check that onnxruntime's telemetry, on by default in its wheels, is off for hear.

    Args:
        root: root of the file system.
        ask: returns the properties of a unit.
        version_of: returns a package's version, or raises PackageNotFoundError.
    """
    try:
        version = version_of("onnxruntime")
    except metadata.PackageNotFoundError:
        return Check("telemetry").not_here("onnxruntime is not installed")
    actual = ask(HEAR)
    where = "by hear itself"
    if is_loaded(actual):
        if TELEMETRY_OFF not in actual.get("Environment", "").split():
            return Check("telemetry").warn(
                f"onnxruntime {version}: telemetry is disabled by hear, but not by its service",
                f"add Environment={TELEMETRY_OFF} to {HEAR}",
            )
        where += " and by its service"
        environ = _read_environ(root, actual.get("MainPID", "0"))
        if environ is not None and TELEMETRY_OFF not in environ:
            return Check("telemetry").warn(
                f"the running hear was started without {TELEMETRY_OFF}",
                f"run: systemctl restart {HEAR}",
            )
    return Check("telemetry").ok(
        f"onnxruntime {version}: disabled {where}; Earmark has no telemetry", onnxruntime=version
    )


def is_loaded(properties: Mapping[str, str]) -> bool:
    """Return whether systemd has the unit."""
    return properties.get("LoadState") == "loaded"


def is_running(properties: Mapping[str, str]) -> bool:
    """Return whether the unit has a main process."""
    return is_loaded(properties) and properties.get("MainPID", "0") not in ("", "0")


def _read_environ(root: Path, pid: str) -> list[str] | None:
    """Return the environment with which a process was started; None if it cannot be read."""
    if not pid.isdecimal() or pid == "0":
        return None
    try:
        text = (root / "proc" / pid / "environ").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.split("\0")
