"""Progress of a long run: one line on a terminal, or a line every 30 s in a file.

An estimate of the time left is written when a twentieth of the work is done: before, one item more
or less would change it several times over.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final, Self, TextIO

TERMINAL_S: Final = 0.2
"""Minimum time between updates on a terminal."""
FILE_S: Final = 30.0
"""Minimum time between lines in a file."""

ESTIMATED_FROM: Final = 0.05
"""Part of the work from which on the time left is estimated."""
BAR: Final = 20
"""Letters of the bar."""
_WIDTH: Final = 78


class ItemProgress:
    """Writes the items done, the engine at work and the time left for it. Not thread-safe."""

    def __init__(
        self,
        items: int,
        total: float,
        errors: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``begin`` starts the clock.

        Args:
            items: items of each engine.
            total: amount of work of all items, in any unit.
            errors: output; rewritten in place if it is a terminal.
            clock: monotonic time in seconds.
        """
        self._items, self._total = items, max(total, 1e-9)
        self._errors, self._clock = errors, clock
        self._is_terminal = errors.isatty()
        self._interval_s = TERMINAL_S if self._is_terminal else FILE_S
        self._written_s = clock()
        self._label = ""
        self._count, self._done = 0, 0.0
        self._first: tuple[float, float] | None = None
        """Time of the first finished item of the engine, and the work done by then: what comes
        before is the start of the workers too."""

    def begin(self, label: str) -> None:
        """Start the next engine, or the next pass of the same."""
        self._label, self._count, self._done, self._first = label, 0, 0.0, None
        if not self._is_terminal:
            return
        self._report()

    def advance(self, amount: float) -> None:
        """Count an item whose work is ``amount``."""
        now_s = self._clock()
        self._count += 1
        self._done += amount
        if self._first is None:
            self._first = now_s, self._done
        if now_s - self._written_s >= self._interval_s:
            self._report()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            _write(self._errors, f"\r{'':<{_WIDTH}}\r")

    def _report(self) -> None:
        now_s = self._written_s = self._clock()
        part = min(self._done / self._total, 1.0)
        filled = int(part * BAR)
        text = (
            f"earmark: [{'#' * filled}{'.' * (BAR - filled)}] {self._count} of {self._items} items"
        )
        if self._first is not None and self._done > self._first[1] and part >= ESTIMATED_FROM:
            rate = (self._done - self._first[1]) / max(now_s - self._first[0], 1e-9)
            text += f", about {_round_span((1 - part) * self._total / rate)} left"
        text += f", {self._label}"
        line = f"\r{text[:_WIDTH]:<{_WIDTH}}" if self._is_terminal else f"{text}\n"
        _write(self._errors, line)


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
        text = f"earmark: {part:4.0%} done"
        if part >= ESTIMATED_FROM:
            text += f", {_span((now_s - self._began_s) * (1 - part) / part)} left"
        _write(self._errors, f"\r{text:<40}" if self._is_terminal else f"{text}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_terminal and self._is_enabled:
            _write(self._errors, f"\r{'':<40}\r")


def _write(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk behind it must not end the run
        stream.write(text)
        stream.flush()


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _round_span(seconds: float) -> str:
    """Return a time of which nothing is claimed that an estimate does not know."""
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{max(1, round(seconds / 5)) * 5} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - two hours
