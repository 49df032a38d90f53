"""Checks of the machine: temperature, throttling, swap, core dumps, control groups, and clock."""

import ctypes
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from listener.system.findings import Check, Facts, Finding

PROC: Final = Path("/proc")
WARM_C: Final = 75.0
"""Temperature of a warning, in °C."""
HOT_C: Final = 84.0
"""Temperature of a failure, in °C; a Raspberry Pi throttles from 80 on, and more at 85."""

_THROTTLED: Final = "soc*/*firmware/get_throttled"  # the Pi 5 has an address in both names
_NOW: Final = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
_SINCE_START_BITS: Final = 16
_SERIOUS: Final = 0b0101  # of these four, the ones that can lose audio
_LOW_VOLTAGE: Final = "rpi_volt"
_POWER: Final = "use a power supply and a cable made for this board"
_UNSYNCHRONISED: Final = 5  # sys/timex.h: TIME_ERROR
_TIMEX_BYTES: Final = 512
"""More than any ``struct timex``; its first field, the modes, is 0: nothing is set."""
_SAVED: Final = Path("var/lib/systemd/timesync/clock")
_BEHIND_S: Final = 60.0


def check_temperature(root: Path) -> Finding:
    """Check the warmest sensor.

    Args:
        root: root of the file system.
    """
    temperatures_c = []
    for path in sorted((root / "sys" / "class" / "thermal").glob("thermal_zone*/temp")):
        number = _read_number(path, 10)
        if number is not None:
            temperatures_c.append(number / 1000)
    if not temperatures_c:
        return Check("temperature").not_here("there is no sensor")
    warmest_c = max(temperatures_c)
    check = Check("temperature", {"temperature_c": round(warmest_c, 1)})
    text = f"{warmest_c:.0f} °C"
    if warmest_c >= HOT_C:
        return check.fail(text, "cool the board with air or a heat sink: it throttles itself")
    if warmest_c >= WARM_C:
        return check.warn(text, "cool the board; a closed case needs openings")
    return check.ok(text)


def check_throttling(root: Path) -> Finding:
    """Check whether the board is throttled, or was since its start.

    Args:
        root: root of the file system.
    """
    paths = sorted((root / "sys" / "devices" / "platform").glob(_THROTTLED))
    bits = _read_number(paths[0], 16) if paths else None
    if bits is None:
        return _check_voltage(root)
    now = [text for bit, text in _NOW.items() if bits >> bit & 1]
    past = [text for bit, text in _NOW.items() if bits >> bit + _SINCE_START_BITS & 1]
    hint = _POWER if bits & 0x1_0001 else "cool the board with air or a heat sink"
    if now:
        return Check("throttling").finding(
            "fail" if bits & _SERIOUS else "warn", f"now: {', '.join(now)}", hint, bits=bits
        )
    if past:
        return Check("throttling").warn(
            f"since the board started: {', '.join(past)}", hint, bits=bits
        )
    return Check("throttling").ok("never since the board started")


def check_swap(proc: Path = PROC) -> Finding:
    """Check whether memory may be swapped out.

    Args:
        proc: the proc file system.
    """
    try:
        lines = (proc / "swaps").read_text("utf-8", "replace").splitlines()[1:]
    except OSError:
        return Check("swap").not_here("this kernel has no swap")
    names = [line.split()[0] for line in lines if line.split()]
    if not names:
        return Check("swap").ok("there is none")
    in_memory = all(Path(name).name.startswith("zram") for name in names)
    return Check("swap").warn(
        f"{', '.join(names)}: audio is in locked memory, but copies that libraries make may"
        f" be swapped {'there' if in_memory else 'to the disk'}",
        "run swapoff -a, or set MemorySwapMax=0 for hear",
        areas=len(names),
        in_memory=in_memory,
    )


def check_core_dumps(proc: Path = PROC) -> Finding:
    """Check where the kernel sends core dumps; hear disables its own.

    Args:
        proc: the proc file system.
    """
    try:
        pattern = (proc / "sys" / "kernel" / "core_pattern").read_text("utf-8", "replace").strip()
    except OSError:
        return Check("core").not_here("this kernel writes no core dumps")
    if pattern.startswith("|") and pattern.split()[0] not in ("|/bin/false", "|/usr/bin/false"):
        # A size limit of 0 prevents core files, but not dumps that are piped to a program.
        return Check("core").warn(
            f"core dumps are piped to {pattern[1:].split()[0]}; hear disables its own",
            "run: sysctl kernel.core_pattern='|/bin/false'",
        )
    return Check("core").ok("hear disables its own; core dumps are not piped to a program")


def check_cgroup(root: Path) -> Finding:
    """Check whether systemd can limit a service's memory and keep it out of swap.

    Args:
        root: root of the file system.
    """
    try:
        controllers = (root / "sys" / "fs" / "cgroup" / "cgroup.controllers").read_text("utf-8")
    except OSError:
        return Check("cgroup").not_here("this machine has no control groups of version 2")
    if "memory" in controllers.split():
        return Check("cgroup").ok("the memory controller is on")
    return Check("cgroup").warn(
        "the memory controller is off: MemorySwapMax=0 and MemoryMax= in the units have no effect",
        "add cgroup_enable=memory to /boot/firmware/cmdline.txt, or turn swap off",
    )


def is_synchronised() -> bool | None:
    """Return whether the kernel's clock is synchronised (adjtimex(2)); None if it is unknown."""
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
    """Check that the system clock is synchronised; each envelope carries its time.

    Args:
        root: root of the file system.
        now: the time, with its time zone.
        built: when this program's files were written; a correct clock is later.
        ask: returns whether the kernel's clock is synchronised; None if it is unknown.
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
            f"{now_text}: before this program was built, and clips would carry that time",
            "connect a network and run: timedatectl set-ntp true",
        )
    saved_s = _saved_s(root)
    if saved_s is not None and now.timestamp() + _BEHIND_S < saved_s:
        return check.warn(
            f"{now_text}: earlier than a previous time, so it has jumped back",
            "check time synchronisation: systemctl status systemd-timesyncd",
        )
    if not synchronised:
        state = "synchronisation unknown" if synchronised is None else "not synchronised"
        return check.warn(
            f"{now_text}, {state}",
            "run: timedatectl set-ntp true"
            + ("" if has_rtc else " (without a battery-backed clock the time is wrong at start)"),
        )
    return check.ok(f"{now_text}, synchronised")


def _check_voltage(root: Path) -> Finding:
    """Check the voltage alarm, which is all that Debian's kernels report."""
    for folder in sorted((root / "sys" / "class" / "hwmon").glob("hwmon*")):
        try:
            name = (folder / "name").read_text("utf-8", "replace").strip()
        except OSError:
            continue
        alarm = _read_number(folder / "in0_lcrit_alarm", 10)
        if name == _LOW_VOLTAGE and alarm is not None:
            if not alarm:
                return Check("throttling").ok("no undervoltage")
            return Check("throttling").warn("undervoltage", _POWER)
    return Check("throttling").not_here("this machine does not report it")


def _read_number(path: Path, base: int) -> int | None:
    try:
        return int(path.read_text("utf-8", "replace").strip(), base)
    except (OSError, ValueError):
        return None


def _saved_s(root: Path) -> float | None:
    """Return the latest time that systemd-timesyncd saved, in seconds since 1970."""
    try:
        return (root / _SAVED).stat().st_mtime
    except OSError:
        return None
