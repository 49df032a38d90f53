"""Recogniser of a home's commands, in a process of its own."""

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from listener.assist.recogniser import Recognition
from listener.assist.understanding.recogniser_process import (
    ClipMessage,
    FoundMessage,
    read_message,
    write_message,
)
from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.system.malloc import with_small_blocks_freed

START_S: Final = 60.0
"""Time in which a process loads the speech model."""
RETRY_S: Final = 30.0
"""Least time between two starts while no command waits."""
ANSWER_S: Final = 6.0
"""Time for one clip: after 7 s nothing may be done any more."""
_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_THREADS: Final = "1"
"""Of OpenBLAS: two wait for each other, and take many times as long on a busy computer."""


class LocalRecogniser:
    """Recogniser whose process has neither files nor network; see `Recogniser`.

    The process starts at the first use, or by ``start``. One that does not answer in time, or ends,
    is replaced at once, and loads its model while the next command is still to come.

    The kernel ends the process with the thread that started it, so that thread has to live on.

    Args:
        home_text: content of the home file.
        model_folder: folder of the speech model.
        answer_s: time for one clip, in seconds.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        home_text: str,
        model_folder: Path,
        answer_s: float = ANSWER_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home_text = home_text
        self._model_folder = model_folder
        self._answer_s = answer_s
        self._monotonic_s = monotonic_s
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = float("-inf")
        self._is_ready = False

    def start(self) -> None:
        """Start the process, and wait until it has loaded the model.

        Raises:
            Unavailable: it does not start: a package, the model or the home file is at fault.
        """
        self._spawn()
        self._wait_until_ready(START_S)

    def keep_ready(self) -> None:
        """Replace a process that has ended; to be called while no command waits. Never raises."""
        is_running = self._process is not None and self._process.poll() is None
        if not is_running and self._monotonic_s() - self._started_s >= RETRY_S:
            with contextlib.suppress(Unavailable):  # the next command reports it
                self._spawn()

    def _spawn(self) -> None:
        """Start a process, which loads the model by itself.

        Raises:
            Unavailable: there is no place for a process.
        """
        self.close()
        self._started_s = self._monotonic_s()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"OPENBLAS_NUM_THREADS": _THREADS, "OMP_NUM_THREADS": _THREADS}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a list without a shell: our module, a process id, a folder
                [
                    *(sys.executable, "-m", "listener.assist.understanding.recogniser_process"),
                    *(str(os.getpid()), str(self._model_folder)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=with_small_blocks_freed(environment),
            )
            self._send(self._home_text.encode())
        except OSError as error:
            self.close()
            raise Unavailable("the recogniser's process has ended") from error

    def _wait_until_ready(self, longest_s: float) -> None:
        """Wait until the process has loaded the model.

        Raises:
            Unavailable: it has not, or cannot. One that is still loading goes on.
        """
        if self._is_ready:
            return
        if self._monotonic_s() - self._started_s < START_S and not self._has_answer(longest_s):
            raise Unavailable("the recogniser is loading its model")
        reply = self._receive(0.0)
        if reply.error:
            self.close()
            raise Unavailable(reply.error, reply.hint)
        self._is_ready = True

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        """Return the command of a clip, or None where it is not one; see `Recogniser`.

        Raises:
            Unavailable: the process does not start, does not answer in time, or has ended.
        """
        del is_final
        until_s = self._monotonic_s() + self._answer_s
        if self._process is None or self._process.poll() is not None:
            self._spawn()
        self._wait_until_ready(self._answer_s)
        if until_s - self._monotonic_s() < self._answer_s / 2:
            # It has just loaded its model; it is not to be taken for one that does not answer.
            raise Unavailable("the recogniser was loading its model")
        clip = ClipMessage(samples.astype("<i2", copy=False).tobytes(), word)
        try:
            self._send(msgspec.msgpack.encode(clip))
            reply = self._receive(max(0.0, until_s - self._monotonic_s()))
        except (OSError, Unavailable) as error:
            # Now, so that the next command does not wait until the model is loaded.
            self._spawn()
            if isinstance(error, Unavailable):
                raise
            raise Unavailable("the recogniser's process has ended") from error
        return None if reply.text is None else Recognition(reply.text, is_command=True)

    @property
    def process_id(self) -> int | None:
        """Return the id of the process, or None where there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        self._is_ready = False
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _send(self, message: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            raise Unavailable("the recogniser's process has not been started")
        write_message(self._process.stdin, message)

    def _has_answer(self, longest_s: float) -> bool:
        """Wait for an answer, or for the end of the process."""
        if self._process is None or self._process.stdout is None:
            return True
        readable, _, _ = select.select((self._process.stdout,), (), (), longest_s)
        return bool(readable)

    def _receive(self, longest_s: float) -> FoundMessage:
        """Return an answer; end the process if there is none in time.

        Raises:
            Unavailable: there is none.
        """
        is_there = self._has_answer(longest_s)
        pipe = None if self._process is None else self._process.stdout
        try:
            answer = read_message(pipe) if is_there and pipe is not None else None
        except (OSError, ValueError):
            answer = None
        if answer is None:
            self.close()
            raise Unavailable("the recogniser's process does not answer, or has ended")
        return msgspec.msgpack.decode(answer, type=FoundMessage)
