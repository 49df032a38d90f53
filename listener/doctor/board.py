"""How the board fares: its temperature, and whether it has to slow down or lacks power."""

from pathlib import Path
from typing import Final

from listener.system.findings import Check, Finding

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
        return Check("throttling").found(
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
