"""Whether the clock can be believed: it stands in every envelope."""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from listener.system.findings import Check, Facts, Finding

_UNSYNCHRONISED: Final = 5  # sys/timex.h: TIME_ERROR
_TIMEX_BYTES: Final = 512
"""More than any ``struct timex``; its first field, the modes, is 0: nothing is set."""
_SAVED: Final = Path("var/lib/systemd/timesync/clock")
_BEHIND_S: Final = 60.0


def is_synchronised() -> bool | None:
    """Ask the kernel, whatever program sets its clock; None where it does not say."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return None
    return None if answer < 0 else bool(answer != _UNSYNCHRONISED)


def check_clock(
    root: Path,
    now: datetime,
    built: datetime,
    ask: Callable[[], bool | None] = is_synchronised,
) -> Finding:
    """Look at the clock.

    Args:
        root: of the machine's files.
        now: what it says, with its time zone.
        built: when this program's files were written: no clock that is right stands before it.
        ask: tells whether the kernel takes its clock for synchronised.
    """
    has_rtc = any((root / "sys" / "class" / "rtc").glob("rtc*"))
    synchronised = ask()
    facts: Facts = {"rtc": has_rtc}
    if synchronised is not None:
        facts["synchronised"] = synchronised
    check = Check("clock", facts)
    now_text = f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if now < built:
        return check.fail(
            f"{now_text}: before this program was made",
            "clips would carry that time: timedatectl set-ntp true, and a network",
        )
    saved_s = _saved_s(root)
    if saved_s is not None and now.timestamp() + _BEHIND_S < saved_s:
        return check.warn(
            f"{now_text}: earlier than it once was, so it has jumped back",
            "what is due by time waits longer; look at systemd-timesyncd",
        )
    if not synchronised:
        unknown = "nobody says whether it is right" if synchronised is None else "not synchronised"
        return check.warn(
            f"{now_text}, {unknown}",
            "timedatectl set-ntp true"
            + (
                "" if has_rtc else "; without a clock that runs on a battery it jumps at each start"
            ),
        )
    return check.ok(f"{now_text}, synchronised")


def _saved_s(root: Path) -> float | None:
    """Return the latest time that systemd-timesyncd has seen."""
    try:
        return (root / _SAVED).stat().st_mtime
    except OSError:
        return None
