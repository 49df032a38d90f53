"""A file that only grows, line by line, and survives a power cut with every line but the last.

A line is on the disk when ``append`` returns. What a cut leaves of an unfinished line is taken
away when the file is opened again. While the disk is full or gone, lines wait in memory.
"""

import contextlib
import errno
import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.storage.atomic import SECRET_MODE, sync_folder

MOST_WAITING: Final = 1_440
"""Lines that wait for a disk that cannot be written: a day of a survey's minutes."""
LONGEST_LINE_BYTES: Final = 1 << 20

_TAIL_BYTES: Final = 1 << 16

_log = logging.getLogger(__name__)


class Journal:
    """One file, open for appending, for one writer: it is locked. One thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, and take away what a power cut left of its last line.

        Raises:
            Unavailable: it cannot be opened, or somebody else is writing to it.
        """
        self._path = path
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self.lost = 0
        """Lines that were given up because too many waited."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(path, flags, SECRET_MODE)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise Unavailable(f"cannot write {path}: {reason}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = self._whole_bytes()
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
            sync_folder(path.parent)
        except OSError as error:
            os.close(self._file)
            busy = error.errno in {errno.EWOULDBLOCK, errno.EACCES}
            reason = "another process writes to it" if busy else error.strerror
            raise Unavailable(f"cannot write {path}: {reason}") from error

    @property
    def waiting(self) -> int:
        """How many lines are not on the disk yet."""
        return len(self._waiting)

    def append(self, line: bytes) -> bool:
        """Write a line and what waits before it; say whether all is on the disk.

        Args:
            line: with its end, and no other in it.
        """
        self.lost += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(line)
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
            os.fdatasync(self._file)
        except OSError as error:
            _log.warning("cannot write %s, %d lines wait: %s", self._path, self.waiting, error)
            return False
        return True

    def close(self) -> None:
        """Let go of the file; what still waits is lost."""
        self.lost += len(self._waiting)
        self._waiting.clear()
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        """Write all of a line or nothing of it."""
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._end += written

    def _whole_bytes(self) -> int:
        """Return how much of the file is whole lines."""
        end = os.fstat(self._file).st_size
        while end:
            begin = max(0, end - _TAIL_BYTES)
            found = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
        return 0


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file, without their ends, in constant memory.

    A last line without an end is one that is being written, or that a power cut tore: it is left
    out. A line that is too long is yielded cut, so that its reader refuses it.

    Raises:
        Unavailable: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE_BYTES):
                if line.endswith(b"\n"):
                    yield line[:-1]
                elif len(line) == LONGEST_LINE_BYTES:
                    yield line
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(f"cannot read {path}: {reason}") from error
