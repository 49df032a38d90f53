"""Recogniser of a home's commands, in a process of its own."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

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
ANSWER_S: Final = 6.0
"""Time for one clip: after 7 s nothing may be done any more."""
_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_THREADS: Final = "1"
"""Of OpenBLAS: two wait for each other, and take many times as long on a busy computer."""


class LocalRecogniser:
    """Recogniser whose process has neither files nor network; see `Recogniser`.

    The process starts at the first use, or by ``start``. One that does not answer, or ends, is
    replaced at the next use.

    Args:
        home_text: content of the home file.
        model_folder: folder of the speech model.
    """

    def __init__(self, home_text: str, model_folder: Path) -> None:
        self._home_text = home_text
        self._model_folder = model_folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and wait until it has loaded the model.

        Raises:
            Unavailable: it does not start: a package, the model or the home file is at fault.
        """
        self.close()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"OPENBLAS_NUM_THREADS": _THREADS, "OMP_NUM_THREADS": _THREADS}
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
        reply = self._exchange(self._home_text.encode(), START_S)
        if reply.error:
            self.close()
            raise Unavailable(reply.error, reply.hint)

    def recognise(self, samples: Samples, word: str, *, is_final: bool) -> Recognition | None:
        """Return the command of a clip, or None where it is not one; see `Recogniser`.

        Raises:
            Unavailable: the process does not start, does not answer in time, or has ended.
        """
        if not is_final:
            # Not measured: "turn on the light" may go on with "in the bedroom".
            return None
        if self._process is None or self._process.poll() is not None:
            self.start()
        clip = ClipMessage(samples.astype("<i2", copy=False).tobytes(), word)
        reply = self._exchange(msgspec.msgpack.encode(clip), ANSWER_S)
        return None if reply.text is None else Recognition(reply.text, is_command=True)

    @property
    def process_id(self) -> int | None:
        """Return the id of the process, or None where there is none."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _exchange(self, message: bytes, longest_s: float) -> FoundMessage:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise Unavailable("the recogniser's process has not been started")
        try:
            write_message(process.stdin, message)
            answer = _read_within(process.stdout, longest_s)
        except (OSError, ValueError) as error:
            self.close()
            raise Unavailable("the recogniser's process has ended") from error
        if answer is None:
            self.close()
            raise Unavailable("the recogniser's process does not answer, or has ended")
        return msgspec.msgpack.decode(answer, type=FoundMessage)


def _read_within(pipe: IO[bytes], longest_s: float) -> bytearray | None:
    until_s = time.monotonic() + longest_s
    readable, _, _ = select.select((pipe,), (), (), max(0.0, until_s - time.monotonic()))
    return read_message(pipe) if readable else None
