"""Erasure of files by overwriting."""

import contextlib
import ctypes
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from listener.storage.atomic import sync_folder

_ZEROS_BYTES: Final = 1 << 16
_UNLINKERS: Final = 8

_log = logging.getLogger(__name__)


def overwrite(paths: Iterable[Path]) -> None:
    """Overwrite files with zeros and unlink them; missing files and folders are skipped.

    All are overwritten, then the file system is synced once, then all are unlinked: one wait for
    the disk instead of one for each file. Flash may retain copies of the overwritten blocks, which
    hold what the file held. What cannot be overwritten is unlinked as it is, and the others are
    overwritten all the same: a file of another user, one in a damaged sector, a link or a pipe, and
    every file where a file system that copies on write is full. A folder is left.

    Raises:
        OSError: a file cannot be unlinked.
    """
    found = []
    for path in paths:
        try:
            _fill_with_zeros(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("cannot overwrite a file that is erased: %s", error.strerror)
        found.append(path)
    folders = {path.parent for path in found}
    for folder in folders:
        _sync_all(folder)
    # Unlinking waits until the disk has freed a file's blocks; several run in parallel.
    with ThreadPoolExecutor(_UNLINKERS) as unlinkers:
        list(unlinkers.map(_unlink, found))
    for folder in folders:
        sync_folder(folder)


def _fill_with_zeros(path: Path) -> None:
    # Without a wait for the reader of a pipe.
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags)
    with os.fdopen(handle, "wb", buffering=0) as file:
        left = os.fstat(handle).st_size
        while left > 0:
            left -= file.write(bytes(min(left, _ZEROS_BYTES)))


def _unlink(path: Path) -> None:
    with contextlib.suppress(IsADirectoryError):
        path.unlink(missing_ok=True)


def _sync_all(folder: Path) -> None:
    """Write a folder's whole file system to disk (``syncfs(2)``)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Python has os.sync for all file systems, but no call for one.
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)
