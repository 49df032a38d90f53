"""Timers of speakers, in memory. Pure: the time is passed in.

They do not survive a restart: nothing that was said is stored.
"""

from dataclasses import dataclass
from typing import Final

MOST_TIMERS: Final = 16
"""Timers of one speaker at a time."""
LONGEST_S: Final = 24 * 3600


@dataclass(slots=True)
class Timer:
    """A timer that runs.

    Attributes:
        device: name of the speaker.
        length_s: as it was set, in seconds.
        due_s: when it ends, on a clock that also runs during suspension.
    """

    device: str
    length_s: float
    due_s: float


class TimerList:
    """Timers of all speakers. For one thread at a time."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []

    def start(self, device: str, length_s: float, now_s: float) -> bool:
        """Start a timer.

        Returns:
            False where the length is not 1 s to 24 h, or the speaker has too many.
        """
        if not 1 <= length_s <= LONGEST_S or len(self.of(device)) >= MOST_TIMERS:
            return False
        self._timers.append(Timer(device, length_s, now_s + length_s))
        return True

    def of(self, device: str, length_s: float | None = None) -> list[Timer]:
        """Return the timers of a speaker, the next one to end first.

        Args:
            device: name of the speaker.
            length_s: only those that were set to this length; None for all.
        """
        found = [
            timer
            for timer in self._timers
            if timer.device == device and length_s in {None, timer.length_s}
        ]
        return sorted(found, key=lambda timer: timer.due_s)

    def change(self, timer: Timer, by_s: float, now_s: float) -> bool:
        """Lengthen or shorten a timer.

        Returns:
            False where it would end before now, or be too long.
        """
        left_s = timer.due_s + by_s - now_s
        if not 0 < left_s <= LONGEST_S:
            return False
        timer.due_s += by_s
        return True

    def cancel(self, timer: Timer) -> None:
        """End a timer without an announcement."""
        self._timers.remove(timer)

    def take_due(self, now_s: float) -> list[Timer]:
        """Return and remove the timers that have ended."""
        due = [timer for timer in self._timers if timer.due_s <= now_s]
        for timer in due:
            self._timers.remove(timer)
        return due
