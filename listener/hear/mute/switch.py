"""The switch that shuts the microphone, as the gate asks it.

Whatever stands behind it, a line that cannot be read means muted: the gate takes a failing
`Switch.is_muted` for a shut one. `switches` has what stands behind a line of the kernel, `input`
and `gpio` those lines; `muting` joins the switch with the software mute and the fault.

A switch behind a line of the kernel, whichever line that is: `input` or `gpio`.

A line that is missing, lost or unreadable means muted. It is looked for again, with growing pauses,
for as long as it takes.
"""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import EarmarkError, UsageError
from listener.system.backoff import Backoff

_STRETCH: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)?\s*", re.ASCII)


class Switch(Protocol):
    """What says whether the microphone may be open. One thread asks."""

    @property
    def about(self) -> str:
        """What kind of switch this is, to be said aloud at the start."""

    def filenos(self) -> Sequence[int]:
        """Return the descriptors that become readable when there is reason to ask again.

        Asking takes away what made them readable. They may differ from call to call.
        """

    def is_muted(self, at_sample: int) -> bool:
        """Tell whether it is shut, or was at any moment since it was asked last.

        So a switch thrown and released within one block still mutes that block. Asked twice
        without time between, the second answer is about now alone. A line that was lost and found
        again since was shut between.

        Args:
            at_sample: how far the stream has come; a switch that lives in the real world has its
                own time and ignores it.

        Raises:
            OSError: the line cannot be read.
            EarmarkError: the same, in our words.
        """


class NoSwitch:
    """No switch is fitted, and whoever set up the device said so. A file needs none."""

    about = "none"

    def filenos(self) -> Sequence[int]:
        """Nothing ever happens."""
        return ()

    def is_muted(self, at_sample: int) -> bool:  # noqa: ARG002 - the Protocol's
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class MuteInterval:
    """When a scripted switch is shut."""

    first_sample: int
    end_sample: int | None
    """None: until the end."""


class ScriptedSwitch:
    """A switch that is thrown at given seconds of a recording."""

    about = "script"

    def __init__(self, stretches: Sequence[MuteInterval]) -> None:
        self._stretches: Final = tuple(stretches)
        self._asked_at_sample = 0

    def filenos(self) -> Sequence[int]:
        """Nothing happens but by the stream's own time."""
        return ()

    def is_muted(self, at_sample: int) -> bool:
        """Tell whether a stretch covers any sample since the last question, or the next one."""
        since, self._asked_at_sample = self._asked_at_sample, at_sample
        end = max(at_sample, since + 1)
        return any(
            stretch.first_sample < end
            and (stretch.end_sample is None or since < stretch.end_sample)
            for stretch in self._stretches
        )


def parse_mute_intervals(text: str) -> tuple[MuteInterval, ...]:
    """Read ``40-50,72.5-80`` as stretches in seconds; ``90-`` lasts until the end.

    Raises:
        UsageError: it is not that.
    """
    stretches = []
    for part in text.split(","):
        match = _STRETCH.fullmatch(part)
        if match is None:
            raise _wrong(text)
        first = round(float(match[1]) * SAMPLE_RATE_HZ)
        end = None if match[2] is None else round(float(match[2]) * SAMPLE_RATE_HZ)
        if end is not None and end <= first:
            raise _wrong(text)
        stretches.append(MuteInterval(first, end))
    return tuple(stretches)


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"{text!r} does not say when the switch is shut",
        "give seconds of the recording, such as 40-50 or 40-50,72.5-80",
    )


FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 5.0

_log = logging.getLogger(__name__)


class Line(Protocol):
    """A line of the kernel, held open. One thread."""

    def fileno(self) -> int:
        """Return the descriptor that can be read after an edge, and hangs up when the line goes."""

    def was_muted(self) -> bool:
        """Tell whether it is shut, or was at any moment since this was asked last.

        Raises:
            OSError: it cannot be read, or is gone.
        """

    def close(self) -> None:
        """Let go of it."""


class LineSwitch:
    """A `switch.Switch` behind a line that may come and go. One thread."""

    def __init__(
        self, about: str, open_line: Callable[[], Line], monotonic_s: Callable[[], float]
    ) -> None:
        """Prepare; the line is opened when it is asked for the first time.

        Args:
            about: what kind of switch this is.
            open_line: opens the line; OSError or EarmarkError when that cannot be done now.
            monotonic_s: a clock in seconds that never goes back.
        """
        self.about: Final = about
        self._open_line = open_line
        self._monotonic_s = monotonic_s
        self._line: Line | None = None
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
        self._due_s = float("-inf")
        self._is_said = False

    @property
    def is_read(self) -> bool:
        """Whether the line was there and readable when it was asked last."""
        return self._line is not None

    def is_muted(self, at_sample: int) -> bool:  # noqa: ARG002 - it lives in the real world's time
        """Tell whether the line says shut, said so since the last question, or says nothing."""
        try:
            if self._line is None:
                if self._monotonic_s() < self._due_s:
                    return True
                self._line = self._open_line()
            shut = self._line.was_muted()
        except (OSError, EarmarkError) as error:
            self._lose(error)
            return True
        self._backoff.reset()
        if self._is_said:
            _log.warning("the mute switch can be read again")
            self._is_said = False
            return True  # nobody knows what was between the last answer and this one
        return shut

    def filenos(self) -> Sequence[int]:
        """Return the line, while there is one."""
        return () if self._line is None else (self._line.fileno(),)

    def close(self) -> None:
        """Let go of the line."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def _lose(self, error: Exception) -> None:
        self.close()
        self._due_s = self._monotonic_s() + self._backoff.next_delay_s()
        if not self._is_said:
            hint = getattr(error, "hint", "")
            about = f"{error}; {hint}" if hint else str(error)
            _log.error("the mute switch cannot be read, so this is muted: %s", about)
        self._is_said = True
