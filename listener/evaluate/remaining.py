"""How much of a long run is left, for who waits: a line that is rewritten, or one now and then."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

ON_SCREEN_S: Final = 0.2
IN_A_FILE_S: Final = 30.0


class Remaining:
    """Tells on standard error how far a run is. Not safe for use by several threads."""

    def __init__(
        self,
        total: float,
        errors: TextIO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin.

        Args:
            total: how much there is to do, in any unit.
            errors: where it is told; rewritten in place if it is a terminal.
            clock: seconds.
        """
        self._total = max(total, 1e-9)
        self._errors = errors
        self._clock = clock
        self._on_screen = errors.isatty()
        self._pause_s = ON_SCREEN_S if self._on_screen else IN_A_FILE_S
        self._done = 0.0
        self._began_s = self._told_s = clock()

    def done(self, amount: float) -> None:
        """Say that ``amount`` more is done."""
        self._done += amount
        now_s = self._clock()
        if now_s - self._told_s < self._pause_s or self._done <= 0:
            return
        self._told_s = now_s
        part = min(self._done / self._total, 1.0)
        left_s = (now_s - self._began_s) * (1 - part) / part
        text = f"earmark: {part:4.0%} done, {_span(left_s)} left"
        self._errors.write(f"\r{text:<40}" if self._on_screen else f"{text}\n")
        self._errors.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._on_screen:
            self._errors.write(f"\r{'':<40}\r")
            self._errors.flush()


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
