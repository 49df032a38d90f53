"""``earmark mute``: mutes and unmutes by software, prints the mute state, clears a fault.

Works also while hear does not run: the state is in files in the data directory, which hear reads.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.cli.main import with_examples
from listener.config import Config, MuteSettings
from listener.errors import EarmarkError
from listener.hear.hardware import open_line
from listener.hear.mute.state import (
    REASONS,
    AnyRecord,
    FaultReason,
    FaultRecord,
    MuteFile,
    MuteFiles,
)
from listener.ipc import control
from listener.ipc.control import ControlClient

_PATIENCE_S: Final = 5.0

Position = Literal["open", "shut", "unreadable", "held", "none", "unset"]

_REMEDIES: Final = {
    "fault": "check the switch and its wiring, then run: earmark mute clear-fault",
    "switch": "to unmute: move the switch",
    "software": "to unmute: earmark mute off",
}


class MuteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Mute state, as ``earmark mute status --json`` prints it."""

    cause: Literal["open", "hardware", "software", "fault"]
    """First cause of the mute: a fault before the switch, the switch before the software mute."""
    switch: Position
    """``held``: hear runs and has the GPIO line open exclusively; ``unset``: mute.switch is not
    configured."""
    software: bool | None
    """True when muted by software. None: the state file cannot be read, which counts as muted."""
    software_since: str | None
    software_by: str | None
    fault: FaultReason | None
    fault_since: str | None
    is_fault_readable: bool
    """False counts as muted."""
    remote_unmute: bool
    """True when an MQTT message may remove the software mute."""
    hear: bool
    """True when hear runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``earmark mute``."""
    parser.epilog = with_examples(
        "The microphone is muted while the switch, the software mute or a fault mutes it: the\n"
        "software cannot override the switch, and moving the switch does not remove a software\n"
        "mute. All three persist across restarts.\n\n"
        "on           mute by software\n"
        "off          remove the software mute\n"
        "status       print the state and its causes; change nothing\n"
        "clear-fault  remove a fault of the switch, once it is repaired",
        "earmark mute on",
        "earmark mute status --json",
    )
    parser.add_argument(
        "action",
        choices=("on", "off", "status", "clear-fault"),
        help="on, off, status or clear-fault, see below",
    )
    parser.add_argument("--json", action="store_true", help="print the state as one JSON object")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Change the state, notify hear, and print the new state.

    Raises:
        Unavailable: the data directory cannot be written.
    """
    home = Path(settings.home)
    lasting = MuteFiles(home, _PATIENCE_S)
    controller = ControlClient(home / control.SOCKET)
    now = datetime.now(UTC)
    try:
        match arguments.action:
            case "on" if not _mutes(lasting.software):
                lasting.mute(now, "command", muted=True)
            case "off" if _mutes(lasting.software):
                lasting.mute(now, "command", muted=False)
            case "clear-fault" if _mutes(lasting.fault):
                lasting.set_fault(now, None)
            case _:
                pass
        if arguments.action != "status":
            controller.send(control.Wakeup())
        state = read_status(lasting, settings.mute, hear=controller.has_listener())
    finally:
        controller.close()
    print(
        msgspec.json.encode(state).decode() if arguments.json else "\n".join(format_status(state))
    )
    return 0


def read_status(lasting: MuteFiles, settings: MuteSettings, *, hear: bool) -> MuteStatus:
    """Return the current mute state.

    Args:
        lasting: state files in the data directory.
        settings: the fitted switch.
        hear: True when hear runs.
    """
    software, is_software_readable = _read(lasting.software)
    fault, is_fault_readable = _read(lasting.fault)
    switch = _position(settings, hear=hear)
    reason = fault.reason if isinstance(fault, FaultRecord) else None
    muted = None if not is_software_readable else software is not None and software.mutes
    return MuteStatus(
        cause="fault"
        if reason is not None or not is_fault_readable
        else "hardware"
        if switch in ("shut", "unreadable")
        else "open"
        if muted is False
        else "software",
        switch=switch,
        software=muted,
        software_since=software.since if software else None,
        software_by=software.by if software else None,
        fault=reason,
        fault_since=fault.since if fault and reason else None,
        is_fault_readable=is_fault_readable,
        remote_unmute=settings.remote_unmute,
        hear=hear,
    )


def format_status(state: MuteStatus) -> list[str]:
    """Return a state as lines of text: each cause, and how to change it."""
    lines = ["muted" if state.cause != "open" else "not muted"]
    if state.fault is not None:
        lines.append(f"fault     {REASONS[state.fault]}, since {state.fault_since}")
        lines.append(f"          {_REMEDIES['fault']}")
    elif not state.is_fault_readable:
        lines.append("fault     the fault file cannot be read; muted as a precaution")
        lines.append(f"          {_REMEDIES['fault']}")
    lines.append(f"switch    {_SWITCHES[state.switch]}")
    if state.switch in ("shut", "unreadable"):
        lines.append(f"          {_REMEDIES['switch']}")
    if state.software is None:
        lines.append("software  the state file cannot be read; muted as a precaution")
    elif state.software:
        lines.append(f"software  muted by a {state.software_by}, since {state.software_since}")
    else:
        lines.append("software  not muted")
    if state.software is not False:
        also = ", or by MQTT" if state.remote_unmute and state.software else ""
        lines.append(f"          {_REMEDIES['software']}{also}")
    lines.append(f"hear      {'runs' if state.hear else 'does not run'}")
    return lines


_SWITCHES: Final[dict[Position, str]] = {
    "open": "not muted",
    "shut": "muted",
    "unreadable": "cannot be read; muted as a precaution",
    "held": "in use by hear; earmark monitor shows its state",
    "none": "none fitted; only the software can mute",
    "unset": "not configured; set mute.switch",
}


def _mutes(file: MuteFile[AnyRecord]) -> bool:
    """Return True when the record mutes, or cannot be read."""
    record, is_readable = _read(file)
    return not is_readable or (record is not None and record.mutes)


def _read(file: MuteFile[AnyRecord]) -> tuple[AnyRecord | None, bool]:
    try:
        return file.read(), True
    except EarmarkError:
        return None, False


def _position(settings: MuteSettings, *, hear: bool) -> Position:
    """Read the switch, also while hear runs if the kernel allows it."""
    if settings.switch is None:
        return "unset"
    if settings.switch == "none":
        return "none"
    try:
        line = open_line(settings)
        try:
            return "shut" if line.was_muted() else "open"
        finally:
            line.close()
    except (OSError, EarmarkError):
        # A GPIO line has one consumer at a time.
        return "held" if hear and settings.switch == "gpio" else "unreadable"
