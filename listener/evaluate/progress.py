"""How much of a long run is left, for who waits: a line that is rewritten, or one now and then."""

import time
from collections.abc import Callable
from typing import Final, Self, TextIO

ON_SCREEN_S: Final = 0.2
IN_A_FILE_S: Final = 30.0


class ProgressLine:
    """Tells on standard error how far a run is. Not safe for use by several threads."""

    def __init__(
        self,
        total: float,
        errors: TextIO,
        results: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            total: how much there is to do, in any unit.
            errors: where it is told; rewritten in place if it is a terminal.
            results: where results go meanwhile. Then only a terminal that they do not go to is
                told: on theirs the two would write over each other, and in a file get mixed up.
            clock: seconds.
        """
        self._total = max(total, 1e-9)
        self._errors = errors
        self._clock = clock
        self._on_screen = errors.isatty()
        self._is_told = results is None or (self._on_screen and not results.isatty())
        self._pause_s = ON_SCREEN_S if self._on_screen else IN_A_FILE_S
        self._done = 0.0
        self._began_s = self._told_s = clock()

    def advance(self, amount: float) -> None:
        """Say that ``amount`` more is done."""
        self.set_position(self._done, amount)

    def set_position(self, whole: float, part: float = 0.0) -> None:
        """Say that ``whole`` is done in all, and ``part`` of what comes next."""
        self._done = whole + part
        now_s = self._clock()
        is_due = self._is_told and now_s - self._told_s >= self._pause_s
        if not is_due or self._done <= 0:
            return
        self._told_s = now_s
        part = min(self._done / self._total, 1.0)
        left_s = (now_s - self._began_s) * (1 - part) / part
        text = f"earmark: {part:4.0%} done, {_span(left_s)} left"
        self._errors.write(f"\r{text:<40}" if self._on_screen else f"{text}\n")
        self._errors.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_screen and self._is_told:
            self._errors.write(f"\r{'':<40}\r")
            self._errors.flush()


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
