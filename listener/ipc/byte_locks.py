"""Shared locks on single bytes of a file, by which one process announces a state to others.

Open file description locks (``F_OFD_SETLK`` in ``fcntl(2)``): they need a descriptor that may be
read-only, any number of processes can hold one, and the kernel releases them when the last copy of
the descriptor is closed, so no state outlives its process.
"""

import fcntl
import os
import struct
from typing import Final

_FLOCK: Final = struct.Struct("hhqqi0q")
"""``struct flock`` of a 64-bit kernel: type, whence, start, length, process."""


def lock_byte(file: int, offset: int) -> None:
    """Lock the byte at ``offset``; a second lock through the same descriptor changes nothing.

    Raises:
        OSError: the file system does not support it.
    """
    _set(file, offset, fcntl.F_RDLCK)


def unlock_byte(file: int, offset: int) -> None:
    """Release the lock of this descriptor on the byte at ``offset``, if it holds one.

    Raises:
        OSError: the file system does not support it.
    """
    _set(file, offset, fcntl.F_UNLCK)


def is_byte_locked(file: int, offset: int) -> bool:
    """Return whether another open file description holds a lock on the byte at ``offset``.

    Raises:
        OSError: the file system does not support it.
    """
    return find_locked_byte(file, offset, 1) is not None


def find_locked_byte(file: int, first: int, count: int) -> int | None:
    """Return the first byte of a range on which another open file description holds a lock.

    Args:
        file: a descriptor.
        first: offset of the range.
        count: its length.

    Raises:
        OSError: the file system does not support it.
    """
    query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    kind, _, start, _, _ = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, query))
    return None if kind == fcntl.F_UNLCK else max(first, int(start))


def _set(file: int, offset: int, kind: int) -> None:
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
