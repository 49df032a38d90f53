"""The parent's end of the microphone's process: start it, read its pipe, end it."""

import contextlib
import fcntl
import logging
import os
import subprocess
from collections.abc import Sequence
from typing import Final

from listener.hear.microphone.records import Reader, Record

PIPE_BYTES: Final = 32 * 1024
"""One second of sound: an ear that is slower than that loses some, and is told so."""

GRACE_S: Final = 0.25
"""So long the kernel has to clear a killed process away before we go on without waiting."""


_log = logging.getLogger(__name__)


class ProcessEnded(Exception):
    """The process closed its pipe."""


class CaptureProcess:
    """One life of the microphone's process. One thread.

    Args:
        command: what to run; it writes records to its standard output.
        memory: bytes for one record at a time; see `records.Reader`.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], memory: memoryview) -> None:
        out, into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The writer's end blocks: whoever captures waits for whoever hears, not the reverse.
            os.set_blocking(into, True)
            with contextlib.suppress(OSError):
                fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            # ALSA explains itself at length, about devices that nobody asked for.
            talk = None if _log.isEnabledFor(logging.INFO) else subprocess.DEVNULL
            self._process = subprocess.Popen(  # noqa: S603 - a list, never a shell: no device name can be a command
                command, stdin=subprocess.DEVNULL, stdout=into, stderr=talk
            )
        except BaseException:
            os.close(out)
            raise
        finally:
            os.close(into)
        self._pipe: Final = out
        self._is_closed = False
        self._reader = Reader(memory)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the pipe's descriptor, to wait on."""
        return self._pipe

    def read_record(self) -> Record | None:
        """Read without waiting; return a record, or None while it is not there as a whole.

        Raises:
            Garbled: what came is no record.
            Ended: nothing comes any more.
        """
        while True:
            try:
                count_bytes = os.readv(self._pipe, [self._reader.room()])
            except BlockingIOError:
                return None
            if not count_bytes:
                raise ProcessEnded
            record = self._reader.take(count_bytes)
            if record is not None:
                return record

    def kill(self) -> bool:
        """End it at once, and with it what is still in the pipe; say whether it is gone.

        False only for a process that hangs in a driver, and that nobody listens to any more: call
        again until it is gone.
        """
        if self._is_closed:
            return self._process.poll() is not None
        self._is_closed = True
        self._process.kill()
        os.close(self._pipe)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return False
        return True
