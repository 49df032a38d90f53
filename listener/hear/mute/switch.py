"""Mute switches as the gate polls them: none, scripted, or a line of the kernel.

`evdev` and `listener.hear.gpio` open the lines; `controller` combines the switch with the software
mute and the fault. A line that is missing, lost or unreadable means muted; it is opened again after
growing pauses, without limit.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import EarmarkError, UsageError
from listener.system.backoff import Backoff

FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 5.0

_INTERVAL: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)?\s*", re.ASCII)

_log = logging.getLogger(__name__)


class Switch(Protocol):
    """A switch that decides whether the microphone may be open. Polled by one thread."""

    @property
    def about(self) -> str:
        """The kind of switch, as reported at start."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when the switch may have changed.

        `is_muted` reads what made them readable. They may differ from call to call.
        """

    def is_muted(self, at_sample: int) -> bool:
        """Return whether the switch is at MUTE, or was at any moment since the last call.

        So a switch that is set and released within one block still mutes that block. The result
        of a second call at the same moment depends on the present position alone. A line that was
        lost and found again since the last call counts as muted meanwhile.

        Args:
            at_sample: number of samples of the stream so far; a physical switch ignores it.

        Raises:
            OSError: the line cannot be read.
            EarmarkError: the same, with a message for the user.
        """


class NoSwitch:
    """A switch that never mutes: none is fitted, or the audio is a file."""

    about = "none"

    def filenos(self) -> Sequence[int]:
        """Return no descriptor."""
        return ()

    def is_muted(self, at_sample: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Return False."""
        return False


@dataclass(frozen=True, slots=True)
class MuteInterval:
    """A half-open interval of samples in which a scripted switch mutes."""

    first_sample: int
    end_sample: int | None
    """The first sample after the interval; None: until the end of the stream."""


class ScriptedSwitch:
    """A switch that mutes in given intervals of a recording. One thread.

    Args:
        intervals: in any order; they may overlap.
    """

    about = "script"

    def __init__(self, intervals: Sequence[MuteInterval]) -> None:
        self._intervals: Final = tuple(intervals)
        self._last_sample = 0

    def filenos(self) -> Sequence[int]:
        """Return no descriptor: only the position in the stream matters."""
        return ()

    def is_muted(self, at_sample: int) -> bool:
        """Return whether an interval covers a sample since the last call, or the next sample."""
        first, self._last_sample = self._last_sample, at_sample
        end = max(at_sample, first + 1)
        return any(
            interval.first_sample < end
            and (interval.end_sample is None or first < interval.end_sample)
            for interval in self._intervals
        )


def parse_mute_intervals(text: str) -> tuple[MuteInterval, ...]:
    """Parse ``40-50,72.5-80`` as intervals in seconds; ``90-`` lasts until the end.

    Raises:
        UsageError: the text does not have this form, or an interval is empty.
    """
    intervals = []
    for part in text.split(","):
        match = _INTERVAL.fullmatch(part)
        if match is None:
            raise _invalid_intervals(text)
        first = round(float(match[1]) * SAMPLE_RATE_HZ)
        end = None if match[2] is None else round(float(match[2]) * SAMPLE_RATE_HZ)
        if end is not None and end <= first:
            raise _invalid_intervals(text)
        intervals.append(MuteInterval(first, end))
    return tuple(intervals)


def _invalid_intervals(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a list of mute intervals",
        "give seconds of the recording, such as 40-50 or 40-50,72.5-80",
    )


class Line(Protocol):
    """An open line of the kernel. One thread."""

    def fileno(self) -> int:
        """Return the descriptor; it is readable after an edge and hangs up when the line goes."""

    def was_muted(self) -> bool:
        """Return whether the line is at MUTE, or was at any moment since the last call.

        Raises:
            OSError: the line cannot be read, or is gone.
        """

    def close(self) -> None:
        """Close the line."""


class LineSwitch:
    """A `Switch` on a line that may disappear and come back. One thread."""

    def __init__(
        self, about: str, open_line: Callable[[], Line], monotonic_s: Callable[[], float]
    ) -> None:
        """Prepare; the line is opened by the first `is_muted`.

        Args:
            about: the kind of switch.
            open_line: opens the line; raises OSError or EarmarkError if that fails.
            monotonic_s: monotonic clock in seconds.
        """
        self.about: Final = about
        self._open_line = open_line
        self._monotonic_s = monotonic_s
        self._line: Line | None = None
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        self._due_s = float("-inf")
        self._is_error_logged = False

    @property
    def is_read(self) -> bool:
        """Whether the last `is_muted` could read the line."""
        return self._line is not None

    def is_muted(self, at_sample: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Return whether the line is or was at MUTE since the last call, or cannot be read."""
        try:
            if self._line is None:
                if self._monotonic_s() < self._due_s:
                    return True
                self._line = self._open_line()
            muted = self._line.was_muted()
        except (OSError, EarmarkError) as error:
            self._lose(error)
            return True
        self._backoff.reset()
        if self._is_error_logged:
            _log.warning("the mute switch can be read again")
            self._is_error_logged = False
            return True  # the position since the last call is unknown
        return muted

    def filenos(self) -> Sequence[int]:
        """Return the line's descriptor; empty while the line is not open."""
        return () if self._line is None else (self._line.fileno(),)

    def close(self) -> None:
        """Close the line."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _lose(self, error: Exception) -> None:
        self.close()
        self._due_s = self._monotonic_s() + self._backoff.next_delay_s()
        if not self._is_error_logged:
            hint = getattr(error, "hint", "")
            reason = f"{error}; {hint}" if hint else str(error)
            _log.error("the mute switch cannot be read, so this is muted: %s", reason)
        self._is_error_logged = True
