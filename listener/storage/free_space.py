"""Free space of a disk, and whether an error means that the disk is full."""

import errno
import os
from pathlib import Path
from typing import Final

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LEAST_BYTES: Final = 256 << 10
"""With less than this free, an unexplained error of SQLite means a full disk."""
FREE_PERCENT: Final = 5
MOST_FREE_BYTES: Final = 1 << 30
"""Upper limit of the space that ``FREE_PERCENT`` of a large disk asks for."""


def is_full_error(error: OSError) -> bool:
    """Return whether an error reports a full disk or an exhausted disk quota."""
    return error.errno in _FULL


def free_bytes(path: Path) -> int:
    """Return the free space that this user may use on a path's file system, in bytes.

    Raises:
        OSError: the path does not exist.
    """
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def least_free_bytes(path: Path, bound_bytes: int) -> int:
    """Return the space that new clips leave free on a disk.

    Args:
        path: a file or folder on it.
        bound_bytes: the configuration ``archive.least_free_bytes``; 0: none.

    Raises:
        OSError: the path does not exist.
    """
    if not bound_bytes:
        return 0
    status = os.statvfs(path)
    total_bytes = status.f_blocks * status.f_frsize
    share = min(total_bytes * FREE_PERCENT // 100, MOST_FREE_BYTES)
    return max(bound_bytes, share)


def is_full(path: Path) -> bool:
    """Return whether a path's file system has no room left, for bytes or for files."""
    try:
        status = os.statvfs(path)
    except OSError:
        return False
    has_no_inodes = status.f_files > 0 and status.f_favail == 0
    return has_no_inodes or status.f_bavail * status.f_frsize < _LEAST_BYTES


def is_read_only(path: Path) -> bool:
    """Return whether a path's file system is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
