"""``earmark mute``: mutes and unmutes by software, prints the mute state, clears a fault.

Works also while hear does not run: the state is in files in the data directory, which hear reads.
"""

import argparse
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from listener.cli.main import with_examples
from listener.config import Config, MuteSettings
from listener.errors import EarmarkError, Unavailable, UsageError
from listener.hear.hardware import open_line
from listener.hear.mute.state import (
    REASONS,
    AnyRecord,
    FaultReason,
    FaultRecord,
    MuteFile,
    MuteFiles,
    MutePause,
    SoftwareMute,
    identify,
)
from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.ipc.hear_locks import HearLockReader
from listener.quantities import quantity
from listener.spool.ledger import BootClock, KernelClock

_PATIENCE_S: Final = 5.0
CONFIRMATION_S: Final = 1.0
"""Longest wait for hear to act on the state, in seconds; it takes one frame of 0.08 s."""
_POLL_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 86_400
"""Longest mute for a time, in seconds."""
_DURATION: Final = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?", re.ASCII)

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
    software_left_s: int | None = None
    """Seconds until hear ends a mute for a time; None for a mute without end."""
    software_interrupted: bool = False
    """True when this computer restarted in a mute for a time, which therefore has no end."""
    fault: FaultReason | None
    fault_since: str | None
    is_fault_readable: bool
    """False counts as muted."""
    remote_unmute: bool
    """True when an MQTT message may remove the software mute."""
    hear: bool
    """True when hear runs."""
    microphone: Literal["open", "closed"] = "closed"
    """``open`` while a process of hear has a microphone open."""
    confirmed: bool = True
    """False when hear runs and does not act on this state: it does not answer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``earmark mute``."""
    parser.epilog = with_examples(
        "The microphone is muted while the switch, the software mute or a fault mutes it: the\n"
        "software cannot override the switch, and moving the switch does not remove a software\n"
        "mute. All three persist across restarts. on, off and status wait until hear confirms the\n"
        "state, for at most a second; exit code 69 means that it does not.\n\n"
        "on           mute by software\n"
        "             with --for, hear unmutes after that time of uninterrupted running: after a\n"
        "             restart of this computer it stays muted until a person unmutes it\n"
        "off          remove the software mute\n"
        "status       print the state and its causes; change nothing\n"
        "clear-fault  remove a fault of the switch, once it is repaired",
        "earmark mute on",
        "earmark mute on --for 1h",
        "earmark mute status --json",
    )
    parser.add_argument(
        "action",
        choices=("on", "off", "status", "clear-fault"),
        help="on, off, status or clear-fault, see below",
    )
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="TIME",
        help="with on: mute for a time, such as 1h, 90m or 1h30m; at most 24h",
    )
    parser.add_argument("--json", action="store_true", help="print the state as one JSON object")


def parse_duration_s(text: str) -> int:
    """Parse a time such as ``1h``, ``90m`` or ``1h30m``; return it in seconds.

    Raises:
        UsageError: it does not have this form, or is not from 1 s through `LONGEST_PAUSE_S`.
    """
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration_s = hours * 3600 + minutes * 60 + seconds
    if not 0 < duration_s <= LONGEST_PAUSE_S:
        raise UsageError(
            f"{text!r} is not a time from 1s through 24h", "write it such as 1h, 90m or 1h30m"
        )
    return duration_s


def run(arguments: argparse.Namespace, settings: Config) -> int:
    """Change the state, notify hear, and print the new state once hear has confirmed it.

    Raises:
        UsageError: ``--for`` with another action, or while a mute without end is in force.
        Unavailable: the data directory cannot be written, or hear does not confirm the state.
    """
    if arguments.duration is not None and arguments.action != "on":
        raise UsageError(f"mute {arguments.action} takes no --for", "earmark mute on --for 1h")
    home = Path(settings.home)
    lasting = MuteFiles(home, _PATIENCE_S)
    controller = ControlClient(home / control.SOCKET)
    now = datetime.now(UTC)
    try:
        match arguments.action:
            case "on" if arguments.duration is not None:
                clock = KernelClock()
                lasting.mute_until(now, _pause(arguments.duration, clock), clock)
            case "on" if not _mutes_without_end(lasting.software):
                lasting.mute(now, "command", muted=True)
            case "off" if _mutes(lasting.software):
                lasting.mute(now, "command", muted=False)
            case "clear-fault" if _mutes(lasting.fault):
                lasting.set_fault(now, None)
            case _:
                pass
        if arguments.action != "status":
            controller.send(control.Wakeup())
        state = await_confirmation(lasting, settings.mute, HearLockReader(home), controller)
    finally:
        controller.close()
    print(
        msgspec.json.encode(state).decode() if arguments.json else "\n".join(format_status(state))
    )
    if _is_open_while_muted(state):
        raise Unavailable(
            "the microphone is still open: hear does not answer",
            "use the mute switch, or end hear: sudo systemctl kill -s KILL earmark-hear",
        )
    if not state.confirmed:
        raise Unavailable(
            f"hear does not answer; the microphone is {state.microphone}",
            "restart hear: sudo systemctl restart earmark-hear",
        )
    return 0


def _pause(duration: str, clock: BootClock) -> MutePause:
    """Return the end of a mute that begins now.

    Raises:
        UsageError: the duration is invalid.
        Unavailable: the kernel does not tell its starts apart.
    """
    until_s = clock.running_s() + parse_duration_s(duration)
    boot = clock.boot()
    if not boot:
        raise Unavailable(
            "cannot read /proc/sys/kernel/random/boot_id, so a mute for a time cannot end",
            "mute without an end: earmark mute on",
        )
    return MutePause(boot=boot, until_s=until_s)


def await_confirmation(
    lasting: MuteFiles,
    settings: MuteSettings,
    reader: HearLockReader,
    controller: ControlClient,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> MuteStatus:
    """Return the mute state, after a wait of up to `CONFIRMATION_S` for hear to act on it.

    Args:
        lasting: state files in the data directory.
        settings: the fitted switch.
        reader: reads what hear does.
        controller: client of hear's control socket.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        Unavailable: the state of hear cannot be read.
    """
    until_s = monotonic_s() + CONFIRMATION_S
    while True:
        is_running = controller.has_listener() or reader.is_running()
        state = read_status(lasting, settings, hear=is_running)
        state = msgspec.structs.replace(
            state,
            microphone="open" if reader.is_microphone_open() else "closed",
            confirmed=not is_running or _is_applied(lasting, reader),
        )
        is_settled = state.confirmed and not _is_open_while_muted(state)
        if is_settled or monotonic_s() >= until_s:
            return state
        time.sleep(_POLL_PAUSE_S)


def _is_applied(lasting: MuteFiles, reader: HearLockReader) -> bool:
    """Return whether hear acts on the records; one that cannot be read mutes, and has no name."""
    records = (_read(lasting.software), _read(lasting.fault))
    return all(
        reader.has_applied(kind, identify(record))
        for kind, (record, is_readable) in enumerate(records)
        if is_readable
    )


def _is_open_while_muted(state: MuteStatus) -> bool:
    """Return whether the microphone is open against a mute that this process can see."""
    # Not the cause: a switch that only hear may read counts as muted here.
    is_muted = (
        state.software is not False
        or state.fault is not None
        or not state.is_fault_readable
        or state.switch == "shut"
    )
    return is_muted and state.microphone == "open"


def read_status(
    lasting: MuteFiles,
    settings: MuteSettings,
    *,
    hear: bool,
    clock: BootClock | None = None,
) -> MuteStatus:
    """Return the current mute state.

    Args:
        lasting: state files in the data directory.
        settings: the fitted switch.
        hear: True when hear runs.
        clock: clock that ends a mute for a time; the kernel's by default.
    """
    software, is_software_readable = _read(lasting.software)
    fault, is_fault_readable = _read(lasting.fault)
    switch = _position(settings, hear=hear)
    reason = fault.reason if isinstance(fault, FaultRecord) else None
    muted = None if not is_software_readable else software is not None and software.mutes
    pause = software.pause if software is not None and software.muted else UNSET
    left_s = None if pause is UNSET else pause.left_s(clock or KernelClock())
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
        software_left_s=None if left_s is None else math.ceil(left_s),
        software_interrupted=pause is not UNSET and left_s is None,
        fault=reason,
        fault_since=fault.since if fault and reason else None,
        is_fault_readable=is_fault_readable,
        remote_unmute=settings.remote_unmute,
        hear=hear,
    )


def format_status(state: MuteStatus) -> list[str]:
    """Return a state as lines of text: each cause, and how to change it."""
    lines = ["muted" if state.cause != "open" else "not muted"]
    if _is_open_while_muted(state):
        lines[0] = "NOT MUTED: the microphone is open"
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
        lines.append(
            f"software  muted by a {state.software_by}, since {state.software_since}"
            + _format_end(state)
        )
    else:
        lines.append("software  not muted")
    if state.software is not False:
        also = ", or by MQTT" if state.remote_unmute and state.software else ""
        lines.append(f"          {_REMEDIES['software']}{also}")
    answers = "runs" if state.confirmed else "runs, and does not answer"
    lines.append(f"hear      {answers if state.hear else 'does not run'}")
    return lines


def _format_end(state: MuteStatus) -> str:
    """Return what the status says about the end of a software mute; empty without an end."""
    if state.software_interrupted:
        return "; this computer restarted meanwhile, so it does not end by itself"
    if state.software_left_s is None:
        return ""
    if state.software_left_s == 0:
        return "; its time is over, and hear unmutes when it runs"
    return f"; hear unmutes in {format_duration(state.software_left_s)}"


def format_duration(duration_s: int) -> str:
    """Return a time in hours and minutes, rounded up; below two minutes in seconds."""
    if duration_s < 2 * 60:
        return quantity(duration_s, "second")
    hours, minutes = divmod(math.ceil(duration_s / 60), 60)
    parts = [quantity(hours, "hour")] if hours else []
    return " ".join([*parts, quantity(minutes, "minute")] if minutes else parts)


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


def _mutes_without_end(file: MuteFile[SoftwareMute]) -> bool:
    """Return True when the record mutes until a person unmutes, or cannot be read."""
    record, is_readable = _read(file)
    return not is_readable or (record is not None and record.mutes_without_end)


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
