"""``earmark mute``: mute by software, take that back, see what mutes, clear a fault.

Works while hear does not run: the files in the home are the truth, and hear looks at them.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

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

_MENDS: Final = {
    "fault": "look at switch and wiring; then a person at this machine: earmark mute clear-fault",
    "switch": "only a hand at the switch can release it",
    "software": "a person at this machine: earmark mute off",
}


class MuteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What ``earmark mute status --json`` prints."""

    cause: Literal["open", "hardware", "software", "fault"]
    """What mutes first: a fault before the switch, and that before the software."""
    switch: Position
    """``held``: a running hear has the GPIO line, and only it can read it; ``unset``: the settings
    do not say which switch is fitted."""
    software: bool | None
    """None: its file cannot be read, and that mutes."""
    software_since: str | None
    software_by: str | None
    fault: FaultReason | None
    fault_since: str | None
    is_fault_readable: bool
    """False mutes too."""
    remote_unmute: bool
    """Whether a message may take back the software mute."""
    hear: bool
    """Whether hear runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``mute`` takes."""
    parser.epilog = (
        "Software mutes more, never less: a switch that is thrown stays thrown, and releasing it\n"
        "takes back no software mute. Both last beyond a restart."
    )
    parser.add_argument(
        "action",
        choices=("on", "off", "status", "clear-fault"),
        help="mute, take the software mute back, say what mutes, or clear a fault once it is found",
    )
    parser.add_argument("--json", action="store_true", help="print the state as one JSON object")


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Do it, tell hear, and say what mutes now.

    Raises:
        Unavailable: the home cannot be written.
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
    """Return what mutes now.

    Args:
        lasting: the home's files.
        settings: which switch is fitted.
        hear: whether hear runs.
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
    """Return a state as lines for people: what mutes, and who can change it."""
    lines = ["muted" if state.cause != "open" else "open"]
    if state.fault is not None:
        lines.append(f"fault     {REASONS[state.fault]}, since {state.fault_since}")
        lines.append(f"          {_MENDS['fault']}")
    elif not state.is_fault_readable:
        lines.append("fault     whether there is one cannot be read, and that mutes")
        lines.append(f"          {_MENDS['fault']}")
    lines.append(f"switch    {_SWITCHES[state.switch]}")
    if state.switch in ("shut", "unreadable"):
        lines.append(f"          {_MENDS['switch']}")
    if state.software is None:
        lines.append("software  its file cannot be read, and that mutes")
    elif state.software:
        lines.append(f"software  muted by a {state.software_by}, since {state.software_since}")
    else:
        lines.append("software  open")
    if state.software is not False:
        also = ", or a message from the broker" if state.remote_unmute and state.software else ""
        lines.append(f"          {_MENDS['software']}{also}")
    lines.append(f"hear      {'runs' if state.hear else 'does not run'}")
    return lines


_SWITCHES: Final[dict[Position, str]] = {
    "open": "open",
    "shut": "shut",
    "unreadable": "cannot be read, and that mutes",
    "held": "held by hear, which alone can read it; see earmark monitor",
    "none": "none is fitted: software alone can mute",
    "unset": "the settings do not say which is fitted (mute.switch)",
}


def _mutes(file: MuteFile[AnyRecord]) -> bool:
    """Tell whether it mutes, as what cannot be read does."""
    record, is_readable = _read(file)
    return not is_readable or (record is not None and record.mutes)


def _read(file: MuteFile[AnyRecord]) -> tuple[AnyRecord | None, bool]:
    try:
        return file.read(), True
    except EarmarkError:
        return None, False


def _position(settings: MuteSettings, *, hear: bool) -> Position:
    """Read the switch, beside hear where the kernel lets us."""
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
        # One request at a time has a GPIO line.
        return "held" if hear and settings.switch == "gpio" else "unreadable"
