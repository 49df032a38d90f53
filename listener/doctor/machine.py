"""How the board fares: its temperature, and whether it has to slow down or lacks power.

What the machine does with memory: swap, bounds, and dumps of programs that crash.

Whether the clock can be believed: it stands in every envelope.
"""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from listener.system.findings import Check, Facts, Finding

WARM_C: Final = 75.0
HOT_C: Final = 84.0
"""Raspberry Pis slow down from 80 on, and more at 85."""

_THROTTLED: Final = "soc*/*firmware/get_throttled"  # the Pi 5 has an address in both names
_NOW: Final = {0: "too little voltage", 1: "a lower clock", 2: "throttled", 3: "too warm"}
_SINCE_START_BITS: Final = 16
_LEAST_FIT: Final = 0b0101  # of these four, the ones that lose sound
_LOW_VOLTAGE: Final = "rpi_volt"
_POWER: Final = "a power supply and a cable made for this board"


def check_temperature(root: Path) -> Finding:
    """Look at the warmest sensor.

    Args:
        root: of the machine's files.
    """
    found = []
    for path in sorted((root / "sys" / "class" / "thermal").glob("thermal_zone*/temp")):
        number = _read_number(path, 10)
        if number is not None:
            found.append(number / 1000)
    if not found:
        return Check("temperature").ok("there is no sensor")
    warmest_c = max(found)
    check = Check("temperature", {"temperature_c": round(warmest_c, 1)})
    text = f"{warmest_c:.0f} °C"
    if warmest_c >= HOT_C:
        hint = "the board slows itself down: give it air, or a heat sink"
        return check.fail(text, hint)
    if warmest_c >= WARM_C:
        hint = "a board in a closed case wants air"
        return check.warn(text, hint)
    return check.ok(text)


def check_throttling(root: Path) -> Finding:
    """Look whether the board has to slow down, or had to since its start.

    Args:
        root: of the machine's files.
    """
    told = sorted((root / "sys" / "devices" / "platform").glob(_THROTTLED))
    bits = _read_number(told[0], 16) if told else None
    if bits is None:
        return _check_voltage(root)
    now = [text for bit, text in _NOW.items() if bits >> bit & 1]
    past = [text for bit, text in _NOW.items() if bits >> bit + _SINCE_START_BITS & 1]
    hint = _POWER if bits & 0x1_0001 else "more air"
    if now:
        return Check("throttling").finding(
            "fail" if bits & _LEAST_FIT else "warn", f"now: {', '.join(now)}", hint, bits=bits
        )
    if past:
        return Check("throttling").warn(
            f"since the board started: {', '.join(past)}", hint, bits=bits
        )
    return Check("throttling").ok("never since the board started")


def _check_voltage(root: Path) -> Finding:
    """Ask Debian's kernels, which tell no more than this."""
    for folder in sorted((root / "sys" / "class" / "hwmon").glob("hwmon*")):
        try:
            name = (folder / "name").read_text("utf-8", "replace").strip()
        except OSError:
            continue
        alarm = _read_number(folder / "in0_lcrit_alarm", 10)
        if name == _LOW_VOLTAGE and alarm is not None:
            if not alarm:
                return Check("throttling").ok("the voltage is well")
            return Check("throttling").warn("too little voltage", _POWER)
    return Check("throttling").ok("this machine tells nothing of it")


def _read_number(path: Path, base: int) -> int | None:
    try:
        return int(path.read_text("utf-8", "replace").strip(), base)
    except (OSError, ValueError):
        return None


PROC: Final = Path("/proc")


def check_swap(proc: Path = PROC) -> Finding:
    """Look whether memory may be written to a disk.

    Args:
        proc: where the kernel tells.
    """
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return Check("swap").ok("this kernel has no swap")
    names = [line.split()[0] for line in lines if line.split()]
    if not names:
        return Check("swap").ok("there is none")
    in_memory = all(Path(name).name.startswith("zram") for name in names)
    return Check("swap").warn(
        f"{', '.join(names)}: sound is in locked memory, but copies that libraries make may"
        f" go {'there' if in_memory else 'to the disk'}",
        "swapoff -a, or MemorySwapMax=0 for hear",
        areas=len(names),
        in_memory=in_memory,
    )


def check_core_dumps(proc: Path = PROC) -> Finding:
    """Look where the memory of a program that crashes would go; hear's goes nowhere.

    Args:
        proc: where the kernel tells.
    """
    try:
        pattern = (proc / "sys" / "kernel" / "core_pattern").read_text("utf-8", "replace").strip()
    except OSError:
        return Check("core").ok("this kernel writes no core dumps")
    if pattern.startswith("|") and pattern.split()[0] not in ("|/bin/false", "|/usr/bin/false"):
        # A limit of 0 stops files, but not programs that the kernel hands a dump to.
        return Check("core").warn(
            f"dumps are handed to {pattern[1:].split()[0]}; hear forbids its own",
            "sysctl kernel.core_pattern='|/bin/false'",
        )
    return Check("core").ok("hear forbids its own; no program takes dumps")


def check_cgroup(root: Path) -> Finding:
    """Look whether systemd can bound a service's memory, and keep it out of swap.

    Args:
        root: of the machine's files.
    """
    try:
        controllers = (root / "sys" / "fs" / "cgroup" / "cgroup.controllers").read_text("utf-8")
    except OSError:
        return Check("cgroup").ok("no control groups of version 2 here")
    if "memory" in controllers.split():
        return Check("cgroup").ok("a service's memory can be bounded")
    return Check("cgroup").warn(
        "the kernel bounds no memory: MemorySwapMax=0 and MemoryMax= of our units do nothing",
        "cgroup_enable=memory in /boot/firmware/cmdline.txt, or no swap",
    )


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
