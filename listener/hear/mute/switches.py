"""A switch behind a line of the kernel, whichever line that is: `input` or `gpio`.

A line that is missing, lost or unreadable means muted. It is looked for again, with growing pauses,
for as long as it takes.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from listener.errors import EarmarkError
from listener.system.backoff import Backoff

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
