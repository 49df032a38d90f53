"""Append-only file of lines; a power cut loses at most the line that is being written.

A line is on the disk when ``append`` returns. An incomplete line is removed when the file is opened
again. While the disk cannot be written, lines wait in memory.
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
from listener.quantities import quantity
from listener.storage.atomic import SECRET_MODE, sync_folder

MOST_WAITING: Final = 1_440
"""Lines that wait while the disk cannot be written: one day of a survey, one line a minute."""
LONGEST_LINE_BYTES: Final = 1 << 20

_TAIL_BYTES: Final = 1 << 16

_log = logging.getLogger(__name__)


class Journal:
    """Writer of one file, which it locks. For one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and remove an incomplete last line.

        Raises:
            Unavailable: it cannot be opened, or another process writes to it.
        """
        self._path = path
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self.lost = 0
        """Lines dropped because too many waited, or because the file was closed."""
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
        """Lines that are not on the disk yet."""
        return len(self._waiting)

    def append(self, line: bytes) -> bool:
        """Write the waiting lines and this one; return whether all are on the disk.

        Args:
            line: one line with its newline.
        """
        self.lost += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(line)
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
            os.fdatasync(self._file)
        except OSError as error:
            _log.warning(
                "cannot write %s, %s: %s",
                self._path,
                quantity(self.waiting, "line waits", "lines wait"),
                error,
            )
            return False
        return True

    def close(self) -> None:
        """Close the file; lines that still wait are lost."""
        self.lost += len(self._waiting)
        self._waiting.clear()
        os.close(self._file)

    def _write(self, line: bytes) -> None:
        """Write a whole line or nothing."""
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
        """Return the length of the file's complete lines, in bytes."""
        end = os.fstat(self._file).st_size
        while end:
            begin = max(0, end - _TAIL_BYTES)
            newline = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
        return 0


def read_lines(path: Path) -> Iterator[bytes]:
    """Yield the complete lines of a file, without their newlines, in constant memory.

    A last line without a newline is being written or was cut by a power loss: it is skipped. A line
    longer than ``LONGEST_LINE_BYTES`` is yielded in pieces, which its parser refuses.

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
