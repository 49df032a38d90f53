"""The enrolment process as its parent sees it: ask for a sentence, receive its embeddings."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from listener.config import Config
from listener.errors import Unavailable
from listener.hear.enrolment.sentence_reply import LONGEST_REPLY_BYTES, SentenceReply, parse_reply

COMMAND: Final = (sys.executable, "-P", "-m", "listener.hear.enrolment.enrolment_process")
"""Command line of the enrolment process."""
LONGEST_SENTENCE_S: Final = 60.0
"""Seconds after which the process is killed; the longest recording has 10 s."""


class EnrolmentClient:
    """A running enrolment process. A context manager, for one thread.

    Args:
        settings: the configuration that hear uses.
        command: starts the process.
    """

    def __init__(self, settings: Config, command: Sequence[str] = COMMAND) -> None:
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

    def record(self) -> SentenceReply:
        """Record one sentence.

        Raises:
            Unavailable: the microphone is missing, busy or muted, or the process failed.
        """
        # A driver that hangs must not stop the command.
        limit = threading.Timer(LONGEST_SENTENCE_S, self._process.kill)
        limit.daemon = True
        limit.start()
        try:
            self._send(b"record\n")
            line = self._process.stdout.readline(LONGEST_REPLY_BYTES + 1)  # type: ignore[union-attr] # it is a pipe
            reply = parse_reply(line)
        except (OSError, ValueError) as error:
            raise Unavailable(
                "the enrolment process failed", "run earmark doctor to see the cause"
            ) from error
        finally:
            limit.cancel()
        if reply.error:
            raise Unavailable(reply.error, reply.hint)
        return reply

    def close(self) -> None:
        """End the process, and so its recording."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
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
                pass  # It ended at once; its answer is read, or its end found, by `record`.
