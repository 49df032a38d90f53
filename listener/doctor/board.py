"""How the board fares: its temperature, and whether it has to slow down or lacks power."""

from pathlib import Path
from typing import Final

from listener.findings import Finding

WARM_C: Final = 75.0
HOT_C: Final = 84.0
"""Raspberry Pis slow down from 80 on, and more at 85."""

_THROTTLED: Final = "soc*/*firmware/get_throttled"  # the Pi 5 has an address in both names
_NOW: Final = {0: "too little voltage", 1: "a lower clock", 2: "throttled", 3: "too warm"}
_SINCE_START_BITS: Final = 16
_LEAST_FIT: Final = 0b0101  # of these four, the ones that lose sound
_LOW_VOLTAGE: Final = "rpi_volt"


def temperature(root: Path) -> Finding:
    """Look at the warmest sensor.

    Args:
        root: of the machine's files.
    """
    found = []
    for path in sorted((root / "sys" / "class" / "thermal").glob("thermal_zone*/temp")):
        number = _number(path, 10)
        if number is not None:
            found.append(number / 1000)
    if not found:
        return Finding(check="temperature", verdict="ok", text="there is no sensor")
    warmest_c = max(found)
    text, facts = f"{warmest_c:.0f} °C", {"temperature_c": round(warmest_c, 1)}
    if warmest_c >= HOT_C:
        hint = "the board slows itself down: give it air, or a heat sink"
        return Finding(check="temperature", verdict="fail", text=text, hint=hint, facts={**facts})
    if warmest_c >= WARM_C:
        hint = "a board in a closed case wants air"
        return Finding(check="temperature", verdict="warn", text=text, hint=hint, facts={**facts})
    return Finding(check="temperature", verdict="ok", text=text, facts={**facts})


def throttling(root: Path) -> Finding:
    """Look whether the board has to slow down, or had to since its start.

    Args:
        root: of the machine's files.
    """
    told = sorted((root / "sys" / "devices" / "platform").glob(_THROTTLED))
    bits = _number(told[0], 16) if told else None
    if bits is None:
        return _voltage(root)
    now = [text for bit, text in _NOW.items() if bits >> bit & 1]
    past = [text for bit, text in _NOW.items() if bits >> bit + _SINCE_START_BITS & 1]
    hint = "a power supply and a cable made for this board" if bits & 0x1_0001 else "more air"
    if now:
        return Finding(
            check="throttling",
            verdict="fail" if bits & _LEAST_FIT else "warn",
            text=f"now: {', '.join(now)}",
            hint=hint,
            facts={"bits": bits},
        )
    if past:
        return Finding(
            check="throttling",
            verdict="warn",
            text=f"since the board started: {', '.join(past)}",
            hint=hint,
            facts={"bits": bits},
        )
    return Finding(check="throttling", verdict="ok", text="never since the board started")


def _voltage(root: Path) -> Finding:
    """Ask Debian's kernels, which tell no more than this."""
    for folder in sorted((root / "sys" / "class" / "hwmon").glob("hwmon*")):
        try:
            name = (folder / "name").read_text("utf-8", "replace").strip()
        except OSError:
            continue
        alarm = _number(folder / "in0_lcrit_alarm", 10)
        if name == _LOW_VOLTAGE and alarm is not None:
            return Finding(
                check="throttling",
                verdict="warn" if alarm else "ok",
                text="too little voltage" if alarm else "the voltage is well",
                hint="a power supply and a cable made for this board" if alarm else "",
            )
    return Finding(check="throttling", verdict="ok", text="this machine tells nothing of it")


def _number(path: Path, base: int) -> int | None:
    try:
        return int(path.read_text("utf-8", "replace").strip(), base)
    except (OSError, ValueError):
        return None
