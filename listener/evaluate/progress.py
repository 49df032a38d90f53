"""How far a long run is, for a person who waits at a terminal."""

import time
from types import TracebackType
from typing import Any, Final, Self, TextIO

PATIENCE_S: Final = 1.0
"""Less work than this goes without a bar."""


class Progress:
    """A bar on standard error, where it disturbs nothing.

    It is drawn only when standard error is a terminal and standard output is none: on one
    terminal, results that come line by line tell as much, and the two would write over each
    other. Without the package ``rich`` there is no bar. Not safe for use by several threads.
    """

    def __init__(
        self, files: int, output: TextIO, errors: TextIO, patience_s: float = PATIENCE_S
    ) -> None:
        """Prepare; nothing is drawn yet.

        Args:
            files: how many there are to do.
            output: where results go.
            errors: where the bar would go.
            patience_s: work of this length goes without a bar.
        """
        self._files = files
        self._errors = errors
        self._done = 0
        self._wanted = errors.isatty() and not output.isatty()
        self._begin_s = time.monotonic() + patience_s
        self._bar: Any = None

    def advance(self, part: float) -> None:
        """Say which part of the current file is done, 0 to 1."""
        if self._bar is None and self._wanted and time.monotonic() >= self._begin_s:
            self._draw()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done + part)

    def file_done(self) -> None:
        """Go on to the next file."""
        self._done += 1

    def _draw(self) -> None:
        self._wanted = False
        try:
            from rich import console, progress  # noqa: PLC0415 - 40 ms, for long runs only
        except ModuleNotFoundError:
            return
        screen = console.Console(file=self._errors, force_terminal=True)
        self._bar = progress.Progress(
            console=screen, transient=True, redirect_stdout=False, redirect_stderr=True
        )
        self._task = self._bar.add_task("scoring", total=self._files)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
