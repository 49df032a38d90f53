"""Progress of a long run: one line on a terminal, or a line every 30 s in a file."""

import contextlib
import time
from collections.abc import Callable
from typing import Final, Self, TextIO

TERMINAL_S: Final = 0.2
"""Minimum time between updates on a terminal."""
FILE_S: Final = 30.0
"""Minimum time between lines in a file."""


class ProgressLine:
    """Writes progress and remaining time to standard error. Not thread-safe."""

    def __init__(
        self,
        total: float,
        errors: TextIO,
        results: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            total: amount of work, in any unit.
            errors: output of the progress; rewritten in place if it is a terminal.
            results: output of results during the run. If given, progress is written only if
                ``errors`` is a terminal and ``results`` is not, so that the two do not mix.
            clock: monotonic time in seconds.
        """
        self._total = max(total, 1e-9)
        self._errors = errors
        self._clock = clock
        self._is_terminal = errors.isatty()
        self._is_enabled = results is None or (self._is_terminal and not results.isatty())
        self._interval_s = TERMINAL_S if self._is_terminal else FILE_S
        self._done = 0.0
        self._began_s = self._written_s = clock()

    def advance(self, amount: float) -> None:
        """Add ``amount`` to the completed work."""
        self.set_position(self._done, amount)

    def set_position(self, whole: float, part: float = 0.0) -> None:
        """Set the completed work to ``whole``, plus ``part`` of the current unit."""
        self._done = whole + part
        now_s = self._clock()
        is_due = self._is_enabled and now_s - self._written_s >= self._interval_s
        if not is_due or self._done <= 0:
            return
        self._written_s = now_s
        part = min(self._done / self._total, 1.0)
        left_s = (now_s - self._began_s) * (1 - part) / part
        text = f"earmark: {part:4.0%} done, {_span(left_s)} left"
        self._write(f"\r{text:<40}" if self._is_terminal else f"{text}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal and self._is_enabled:
            self._write(f"\r{'':<40}\r")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk behind it must not end the run
            self._errors.write(text)
            self._errors.flush()


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
