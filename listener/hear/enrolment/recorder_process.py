"""A process that records at the microphone, as its parent sees it: ask, receive one answer."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from listener.config import Config
from listener.errors import Unavailable

LONGEST_RECORDING_S: Final = 60.0
"""Seconds after which the process is killed; the longest recording has 10 s."""


class RecorderProcess:
    """A running process that records. A context manager, for one thread.

    Args:
        settings: the configuration that hear uses.
        command: starts the process.
        purpose: what it is for, for messages.
    """

    def __init__(self, settings: Config, command: Sequence[str], purpose: str) -> None:
        self._purpose = purpose
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter on a module that the caller names
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # ALSA writes long messages there, about devices that are not configured.
            stderr=subprocess.DEVNULL,
            # No threads before its sandbox, as in hear.
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},
        )
        self._send(msgspec.json.encode(settings) + b"\n")

    def ask(self, longest_bytes: int) -> bytes:
        """Ask for one recording; return the line that answers, which may be cut or empty.

        Args:
            longest_bytes: limit of the line; one byte more is read.

        Raises:
            Unavailable: the process failed.
        """
        # A driver that hangs must not stop the command.
        limit = threading.Timer(LONGEST_RECORDING_S, self._process.kill)
        limit.daemon = True
        limit.start()
        try:
            self._send(b"record\n")
            return self._process.stdout.readline(longest_bytes + 1)  # type: ignore[union-attr] # it is a pipe
        except OSError as error:
            raise self.failed() from error
        finally:
            limit.cancel()

    def failed(self) -> Unavailable:
        """Return the error for a process that does not answer as it should."""
        return Unavailable(
            f"the {self._purpose} process failed", "run earmark doctor to see the cause"
        )

    def close(self) -> None:
        """End the process, and so its recording."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What could not be written to a process that has ended is flushed once more.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, data: bytes) -> None:
        stdin = self._process.stdin
        if stdin is not None:
            try:
                stdin.write(data)
                stdin.flush()
            except BrokenPipeError:
                pass  # It ended at once; its answer is read, or its end found, by `ask`.
