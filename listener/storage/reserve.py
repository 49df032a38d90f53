"""Reserve of disk space: a file that is given up when the disk is full.

Erasing a clip writes before it frees: a tombstone, a row of the access log, and SQLite's log of
both. On a full disk it would fail, and so nothing could ever make room. The reserve is deleted
then, the operation is repeated, and the reserve is made again later.
"""

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar

from listener.errors import DiskFull
from listener.storage.atomic import SECRET_MODE, chown_to_folder_owner, sync_folder
from listener.storage.free_space import free_bytes

RESERVE: Final = "reserve"
"""Name of the file."""
RESERVE_BYTES: Final = 2 << 20
_MARGIN_BYTES: Final = 256 << 10
"""Space that stays free when the reserve is made."""

_Result = TypeVar("_Result")
_Parameters = ParamSpec("_Parameters")

_log = logging.getLogger(__name__)


class Reserve:
    """Reserve of one file system. Safe for several threads.

    Args:
        folder: folder on that file system, which exists when ``refill`` is called.
        size_bytes: size of the file.
    """

    def __init__(self, folder: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = folder / RESERVE
        self._size_bytes = size_bytes
        self._lock = threading.Lock()

    @property
    def is_whole(self) -> bool:
        """Whether the file has its full size."""
        try:
            return self._path.stat().st_size >= self._size_bytes
        except OSError:
            return False

    def refill(self) -> bool:
        """Make the file, or extend it, as far as there is room; return whether it is whole."""
        with self._lock:
            if self.is_whole:
                return True
            try:
                size = self._path.stat().st_size if self._path.exists() else 0
                room = free_bytes(self._path.parent) - _MARGIN_BYTES
                more = min(self._size_bytes - size, room)
                if more <= 0:
                    return False
                flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
                flags |= os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for its reader
                handle = os.open(self._path, flags, SECRET_MODE)
                try:
                    chown_to_folder_owner(handle, self._path.parent)
                    os.posix_fallocate(handle, size, more)
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                _log.warning("cannot make the reserve %s: %s", self._path, error.strerror)
                return False
            return self.is_whole

    def release(self) -> bool:
        """Delete the file; return whether that made room."""
        with self._lock:
            try:
                self._path.unlink()
            except OSError:
                return False
            with contextlib.suppress(OSError):
                sync_folder(self._path.parent)
        _log.warning("the disk is full: gave up the reserve %s", self._path)
        return True

    def run(self, operation: Callable[[], _Result]) -> _Result:
        """Run an operation; if the disk is full, give up the reserve and run it once more.

        Args:
            operation: leaves nothing behind if it fails, or may be repeated.

        Raises:
            DiskFull: the disk is full even so.
        """
        try:
            return operation()
        except DiskFull:
            if not self.release():
                raise
            return operation()


def find_reserve(archive: Path) -> Reserve:
    """Return the reserve of the archive's folder.

    It is that of the home, which holds the other databases, unless the folder is on another disk.

    Args:
        archive: the archive's folder, in the home; it exists.

    Raises:
        OSError: the folder cannot be read.
    """
    is_same_disk = archive.stat().st_dev == archive.parent.stat().st_dev
    return Reserve(archive.parent if is_same_disk else archive)


class HasReserve(Protocol):
    """Owner of a reserve."""

    @property
    def reserve(self) -> Reserve:
        """The reserve of its disk."""


_Owner = TypeVar("_Owner", bound=HasReserve)


def with_reserve(
    method: Callable[Concatenate[_Owner, _Parameters], _Result],
) -> Callable[Concatenate[_Owner, _Parameters], _Result]:
    """Decorate a method that writes: if the disk is full, it gives up the reserve and repeats.

    Args:
        method: leaves nothing behind if it fails; its arguments can be used twice.
    """

    @functools.wraps(method)
    def run(self: _Owner, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        return self.reserve.run(lambda: method(self, *args, **kwargs))

    return run
