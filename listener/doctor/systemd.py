"""What systemd forbids hear and send on this machine, and whether libraries report home.

Asked of systemd itself: a drop-in can take back what our units say.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from listener.system.findings import Check, Finding

Show = Callable[[str], Mapping[str, str]]
"""Returns what systemd has of a unit, by property; empty where there is no systemd."""

HEAR, SEND = "earmark-hear.service", "earmark-send.service"
TELEMETRY_OFF: Final = "ORT_DISABLE_TELEMETRY=1"

_BOTH: Final = {
    "NoNewPrivileges": "yes",
    "MemoryDenyWriteExecute": "yes",
    "ProtectSystem": "strict",
    "DevicePolicy": "closed",
    "LimitCORE": "0",
    "MemorySwapMax": "0",
}
WANTED: Final[Mapping[str, Mapping[str, str]]] = {
    HEAR: {**_BOTH, "PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX"},
    SEND: {**_BOTH, "PrivateDevices": "yes"},
}
_ALSO: Final = ("LoadState", "MainPID", "User", "Environment")
_PATIENCE_S: Final = 10.0


def show_unit(unit: str) -> Mapping[str, str]:
    """Ask systemctl about a unit."""
    names = ",".join((*_ALSO, *WANTED[unit]))
    try:
        done = subprocess.run(  # noqa: S603 - fixed words
            ["systemctl", "show", "--no-pager", f"--property={names}", unit],  # noqa: S607 - wherever it is
            capture_output=True,
            check=True,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def check_sandbox(ask: Show = show_unit) -> Iterator[Finding]:
    """Compare what systemd forbids the two with what our units want.

    Args:
        ask: tells what systemd has of a unit.
    """
    for unit, wanted in WANTED.items():
        name = unit.removesuffix(".service")
        has = ask(unit)
        if not _is_there(has):
            yield Check("sandbox").warn(
                f"{name} is no service here: what it forbids itself is all there is",
                "the package earmark installs it with its sandbox",
            )
            continue
        loose = [
            f"{key}={has.get(key, '')}" for key, value in wanted.items() if has.get(key) != value
        ]
        if has.get("User", "") in ("", "root"):
            loose.insert(0, "User=root")
        check = Check("sandbox", {"unit": name, "loose": len(loose)})
        if loose:
            yield check.fail(
                f"{name} is looser than it must be: {', '.join(loose)}",
                f"systemctl cat {unit} shows which file says so",
            )
        else:
            yield check.ok(f"{name}: {len(wanted)} of {len(wanted)} as they must be")


def check_telemetry(
    root: Path, ask: Show = show_unit, version_of: Callable[[str], str] = metadata.version
) -> Finding:
    """Look whether onnxruntime's telemetry, on by default in its wheels, is off for hear.

    Args:
        root: of the machine's files.
        ask: tells what systemd has of a unit.
        version_of: tells a package's version; PackageNotFoundError where it is not installed.
    """
    try:
        version = version_of("onnxruntime")
    except metadata.PackageNotFoundError:
        return Check("telemetry").ok("onnxruntime is not installed")
    has = ask(HEAR)
    where = "by hear itself"
    if _is_there(has):
        if TELEMETRY_OFF not in has.get("Environment", "").split():
            return Check("telemetry").warn(
                f"onnxruntime {version}: only hear itself switches its telemetry off",
                f"Environment={TELEMETRY_OFF} is missing in {HEAR}",
            )
        where += " and by its service"
        environ = _environ(root, has.get("MainPID", "0"))
        if environ is not None and TELEMETRY_OFF not in environ:
            return Check("telemetry").warn(
                f"the hear that runs was started without {TELEMETRY_OFF}",
                f"systemctl restart {HEAR}",
            )
    return Check("telemetry").ok(
        f"onnxruntime {version}: off, {where}; ours has none", onnxruntime=version
    )


def _is_there(has: Mapping[str, str]) -> bool:
    return has.get("LoadState") == "loaded"


def _environ(root: Path, pid: str) -> list[str] | None:
    """Return what a process was started with; None where nobody may know."""
    if not pid.isdecimal() or pid == "0":
        return None
    try:
        text = (root / "proc" / pid / "environ").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.split("\0")
