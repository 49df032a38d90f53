"""Envelope files: durable exclusive writes, reads that follow no link, erasure by overwriting."""

import contextlib
import ctypes
import logging
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.storage.atomic import make_folder, open_plain_file, sync_folder, write_once
from listener.storage.locations import CLIPS

SUFFIX: Final = ".earmark"
_CLIP: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ZEROS_BYTES: Final = 1 << 16
_UNLINKERS: Final = 8

_log = logging.getLogger(__name__)


def clip_path(folder: Path, owner: str, clip: str) -> Path:
    """Return the path of a clip's file in the archive ``folder``."""
    return folder / CLIPS / owner / (clip + SUFFIX)


def find_envelope_file(folder: Path, clip: str) -> Path | None:
    """Return the file of a clip in the archive ``folder`` without using the index, or None."""
    if not _CLIP.fullmatch(clip):
        return None
    return next(iter(sorted((folder / CLIPS).glob(f"*/{clip}{SUFFIX}"))), None)


def list_clips(folder: Path) -> Iterator[str]:
    """Yield the ids of the clips in one owner's folder, in no order and in constant memory.

    Other names are skipped.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listing:
        for item in listing:
            clip = item.name.removesuffix(SUFFIX)
            if clip != item.name and _CLIP.fullmatch(clip):
                yield clip


def read_envelope_file(path: Path) -> bytes:
    """Return a file's bytes, at most one more than the size limit of an envelope.

    Raises:
        OSError: it cannot be read, or it is a symbolic link or not a regular file.
    """
    with open_plain_file(path) as file:
        return file.read(ENVELOPE_LIMIT_BYTES + 1)


def write_envelope_file(path: Path, data: bytes) -> bool:
    """Write an envelope durably, with its folder; return False if the same bytes are stored.

    Raises:
        FileExistsError: another file has this name; it is never replaced.
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    try:
        write_once(path, data)
    except FileExistsError:
        if read_envelope_file(path) != data:
            raise
        return False
    return True


def overwrite(paths: Iterable[Path]) -> None:
    """Overwrite files with zeros and unlink them; missing files and folders are skipped.

    All are overwritten, then the file system is synced once, then all are unlinked: one wait for
    the disk instead of one for each file. Flash may retain copies of the overwritten blocks, which
    hold only ciphertext. What cannot be overwritten is unlinked as it is, and the others are
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
