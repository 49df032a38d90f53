"""English replies of the assistant. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from listener.assist.understanding.home_actions import HomeChange
from listener.assist.understanding.sentences import HomeIntent

_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MOST_NAMES: Final = 3
_NOON: Final = 12


def describe_change(intent: HomeIntent, change: HomeChange) -> str:
    """Return what was done, such as "Turned on the kitchen light."."""
    names = _names([thing.name for thing in change.things])
    number = f"{change.number:g}" if change.number is not None else ""
    first = change.things[0].domain
    match intent.name:
        case "HassLightSet":
            return f"{names} set to {number} percent."
        case "HassSetPosition":
            return f"{names} set to {number} percent."
        case "HassClimateSetTemperature":
            return f"{names} set to {number} degrees."
        case "HassTurnOn":
            verb = {"cover": "Opened", "scene": "Activated"}.get(first, "Turned on")
        case _:
            verb = "Closed" if first == "cover" else "Turned off"
    return f"{verb} {names}."


def describe_time(now: datetime) -> str:
    """Return the time of day, such as "It is 7:05 p.m."."""
    hour = now.hour % _NOON or _NOON
    half = "a.m." if now.hour < _NOON else "p.m."
    return f"It is {hour}:{now.minute:02} {half}"


def describe_date(now: datetime) -> str:
    """Return the date, such as "It is Saturday, November 28, 2026."."""
    return f"It is {_DAYS[now.weekday()]}, {_MONTHS[now.month - 1]} {now.day}, {now.year}."


def describe_length(length_s: float) -> str:
    """Return a length of time, such as "1 hour and 30 minutes"."""
    seconds = max(1, round(length_s))
    counts = ((seconds // 3600, "hour"), (seconds % 3600 // 60, "minute"), (seconds % 60, "second"))
    parts = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count]
    return _joined(parts)


def describe_timers(lengths_left_s: Sequence[float]) -> str:
    """Return how much time is left on timers, the next one to end first."""
    if not lengths_left_s:
        return "There are no timers."
    if len(lengths_left_s) == 1:
        return f"{describe_length(lengths_left_s[0])} left."
    lengths = _joined([describe_length(left_s) for left_s in lengths_left_s[:_MOST_NAMES]])
    return f"{len(lengths_left_s)} timers: {lengths} left."


def _names(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMES:
        return f"{len(names)} things"
    return _joined([f"the {name}" for name in names])


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
