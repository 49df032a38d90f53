"""Client of the embedding process: starts it, asks it within a time limit, and kills it.

The process runs only between a wake and a minute without one, or until mute. It is asked in the
sealer thread, so it delays no audio. Whatever it does, the client returns numbers that are checked,
or raises `Unavailable`, after which no clip is made.
"""

import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.hear.voiceprint.embedding_protocol import (
    ANSWER_HEADER,
    LONGEST_REQUEST_SAMPLES,
    SPEECH_STEP_SAMPLES,
    EmbeddingProtocolError,
    RequestType,
    answer_values,
    encode_request,
    parse_answer,
)
from listener.system.malloc import with_small_blocks_freed
from listener.wakeword.features import Floats

GRACE_S: Final = 0.25
"""Longest wait for the kernel to remove a killed process, in seconds."""
_VALUE_BYTES: Final = 4

_log = logging.getLogger(__name__)


class _EmbeddingChild:
    """One run of the process. Only the thread that asks closes the pipes."""

    def __init__(self, command: Sequence[str]) -> None:
        # Non-blocking at this end: every wait has a limit.
        child_in, self.requests = os.pipe2(os.O_CLOEXEC)
        try:
            self.answers, child_out = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(child_in)
            os.close(self.requests)
            raise
        try:
            os.set_blocking(self.requests, False)
            os.set_blocking(self.answers, False)
            self.process = subprocess.Popen(  # noqa: S603 - a list of fixed words, never a shell
                command,
                stdin=child_in,
                stdout=child_out,
                stderr=None if _log.isEnabledFor(logging.INFO) else subprocess.DEVNULL,
                env=with_small_blocks_freed(os.environ),
            )
        except BaseException:
            os.close(self.requests)
            os.close(self.answers)
            raise
        finally:
            os.close(child_in)
            os.close(child_out)

    def close(self) -> None:
        """Kill the process and close its pipes."""
        self.process.kill()
        os.close(self.requests)
        os.close(self.answers)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)


class EmbeddingClient:
    """Client of the embedding process.

    `permit` and `kill` are for the thread of the listen loop, everything else for the sealer
    thread.

    Args:
        command: program and arguments of the process; see `embedding_command`.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self, command: Sequence[str], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._command: Final = tuple(command)
        self._monotonic_s: Final = monotonic_s
        self._lock: Final = threading.Lock()
        self._is_permitted = False
        self._child: _EmbeddingChild | None = None

    @property
    def pid(self) -> int | None:
        """Process id; None while none runs."""
        child = self._child
        return None if child is None or child.process.poll() is not None else child.process.pid

    def permit(self) -> None:
        """Permit the process to run, from a wake on."""
        # Without the lock: the sealer thread holds it while it starts a process, and the loop must
        # not wait for that. Only the loop's thread writes this flag.
        self._is_permitted = True

    def kill(self) -> None:
        """Kill the process, and refuse requests until `permit`: mute began. Safe to repeat."""
        with self._lock:
            self._is_permitted = False
            child = self._child
            if child is None or child.process.poll() is not None:
                return
            # The sealer thread may be polling the pipes: it closes them.
            child.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(GRACE_S)

    def start(self) -> None:
        """Start the process if none runs, so that its models are loaded when the clip has ended.

        Raises:
            Unavailable: it cannot be started.
        """
        with contextlib.suppress(_NotPermittedError):
            self._ensure_child()
            self.reset()

    def reset(self) -> None:
        """Overwrite what the process has left of a clip; it stays for another minute."""
        if self._child is None:
            return
        try:
            os.write(self._child.requests, encode_request(RequestType.RESET, 0))
        except OSError:
            self._drop()  # it ends, or hangs: it must not keep audio

    def detect_speech(self, samples: Samples, deadline_s: float) -> Floats:
        """Return the probability of speech of each whole step of a clip.

        Args:
            samples: int16, shape (n,): the clip.
            deadline_s: time on the monotonic clock at which the answer is too late.

        Returns:
            float32, shape (n // SPEECH_STEP_SAMPLES,), 0 to 1.

        Raises:
            Unavailable: there is no answer.
        """
        # Each part but the last has whole steps.
        longest = LONGEST_REQUEST_SAMPLES // SPEECH_STEP_SAMPLES * SPEECH_STEP_SAMPLES
        values = [np.zeros(0, np.float32)]
        for first in range(0, len(samples), longest):
            kind = RequestType.SPEECH_NEXT if first else RequestType.SPEECH_START
            values.append(self._ask(kind, (samples[first : first + longest],), deadline_s))
        return np.concatenate(values)

    def embed(self, pieces: Sequence[Samples], deadline_s: float) -> Floats:
        """Return the embedding of speech.

        Args:
            pieces: int16, shape (n,) each, in order, together at most 3 s; they are written to the
                process as they are, so that this process holds no further copy of them.
            deadline_s: as for `detect_speech`.

        Returns:
            float32, shape (192,), unit norm.

        Raises:
            Unavailable: there is no answer.
            ValueError: the pieces are too long.
        """
        return self._ask(RequestType.EMBED, pieces, deadline_s)

    def close(self) -> None:
        """Kill the process and close its pipes; no other thread uses the client any more."""
        self.kill()
        self._drop()

    def _ask(self, kind: RequestType, pieces: Sequence[Samples], deadline_s: float) -> Floats:
        try:
            return self._exchange(self._ensure_child(), kind, pieces, deadline_s)
        except _NotPermittedError as error:
            raise Unavailable("the embedding process is not permitted: muted") from error

    def _ensure_child(self) -> _EmbeddingChild:
        """Return the running process; start one if there is none.

        Raises:
            _NotPermittedError: mute began.
            Unavailable: it cannot be started.
        """
        if self._child is not None and self._child.process.poll() is not None:
            self._drop()
        with self._lock:
            if not self._is_permitted:
                raise _NotPermittedError
            if self._child is None:
                try:
                    self._child = _EmbeddingChild(self._command)
                except OSError as error:
                    raise Unavailable(
                        f"the embedding process cannot be started: {error.strerror}"
                    ) from error
            return self._child

    def _exchange(
        self,
        child: _EmbeddingChild,
        kind: RequestType,
        pieces: Sequence[Samples],
        deadline_s: float,
    ) -> Floats:
        """Write a request and read its answer; end the process where that fails."""
        count = sum(map(len, pieces))
        if count > LONGEST_REQUEST_SAMPLES:
            raise ValueError(f"{count} samples are too long for a request")
        try:
            self._write(child, encode_request(kind, count), deadline_s)
            for piece in pieces:
                self._write(child, piece.view(np.uint8).data, deadline_s)
            length = ANSWER_HEADER.size + _VALUE_BYTES * answer_values(kind, count)
            return parse_answer(self._read(child, length, deadline_s), kind, count)
        except (EmbeddingProtocolError, OSError) as error:
            self._drop()
            cause = error if isinstance(error, EmbeddingProtocolError) else "it ended"
            raise Unavailable(f"the embedding process gave no answer: {cause}") from error

    def _write(self, child: _EmbeddingChild, data: bytes | memoryview, deadline_s: float) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(child.requests, left) :]
            except BlockingIOError:
                self._wait(child.requests, select.POLLOUT, deadline_s)

    def _read(self, child: _EmbeddingChild, length_bytes: int, deadline_s: float) -> bytes:
        data = b""
        while len(data) < length_bytes:
            self._wait(child.answers, select.POLLIN, deadline_s)
            try:
                more = os.read(child.answers, length_bytes - len(data))
            except BlockingIOError:
                continue
            data += more
            is_failure = len(data) == ANSWER_HEADER.size and not ANSWER_HEADER.unpack(data)[0]
            if not more and not is_failure:
                raise EmbeddingProtocolError("it ended")
            if is_failure:
                break
        return data

    def _wait(self, descriptor: int, event: int, deadline_s: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        left_s = deadline_s - self._monotonic_s()
        if left_s <= 0 or not poll.poll(left_s * 1_000):
            raise EmbeddingProtocolError("it took too long")

    def _drop(self) -> None:
        """End the process, if there is one, and close its pipes."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.close()


class _NotPermittedError(Exception):
    """Mute began, and no wake has followed."""


def embedding_command() -> tuple[str, ...]:
    """Return the command line of the embedding process."""
    return (
        sys.executable,
        "-P",  # Never import a module from the current directory.
        "-m",
        "listener.hear.voiceprint.embedding_process",
        f"--parent={os.getpid()}",
    )
