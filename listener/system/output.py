"""Text output with a limited wait, for a process that must go on when its output is not read.

A pipe, a terminal or the journal's socket whose reader has stopped makes a write wait without end;
in hear, with the microphone open. Lines that cannot be written in time are dropped and counted.
"""

import contextlib
import logging
import os
import select
from typing import Final, TextIO

PATIENCE_S: Final = 0.25
"""Longest wait for a reader that has stopped, in seconds; while it has, no further line waits."""


class BoundedOutput:
    """Output stream for whole lines that waits for its reader for a limited time. One thread.

    Args:
        stream: text stream; one without a descriptor is written to directly.
        patience_s: longest wait for a reader, in seconds.
    """

    def __init__(self, stream: TextIO, patience_s: float = PATIENCE_S) -> None:
        self._stream: Final = stream
        self._patience_s: Final = patience_s
        self._is_stalled = False
        self.dropped = 0
        """Lines that were not written."""

    def write(self, text: str) -> None:
        """Write a line with its newline, or drop it if the reader has stopped.

        Raises:
            BrokenPipeError: the reader has closed.
        """
        number = None
        with contextlib.suppress(OSError, ValueError):
            number = self._stream.fileno()
        if number is None:
            self._stream.write(text)
            return
        data = text.encode("utf-8", "replace")
        # While poll reports room, a write of this size to a pipe does not wait: pipe(7).
        for at in range(0, len(data), select.PIPE_BUF):
            if not self._is_writable(number):
                self.dropped += 1
                return
            os.write(number, data[at : at + select.PIPE_BUF])

    def flush(self) -> None:
        """Do nothing: lines are written at once."""

    def _is_writable(self, number: int) -> bool:
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        # A closed pipe is "ready" too: the write raises.
        ready = poll.poll(0 if self._is_stalled else self._patience_s * 1_000)
        self._is_stalled = not ready
        return bool(ready)


def bound_logging(logger: logging.Logger) -> None:
    """Make the stream handlers of a logger drop lines whose reader has stopped."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and hasattr(handler.stream, "fileno"):
            handler.setStream(BoundedOutput(handler.stream))
