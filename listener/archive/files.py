"""Envelopes as files: written once and durably, read without following links, erased."""

import contextlib
import ctypes
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.storage.atomic import make_folder, open_plain_file, sync_folder, write_once

CLIPS: Final = "clips"
SUFFIX: Final = ".earmark"
_CLIP: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ZEROS_BYTES: Final = 1 << 16
_UNLINKERS: Final = 8


def clip_path(folder: Path, owner: str, clip: str) -> Path:
    """Return where a clip lies in the archive ``folder``, or would."""
    return folder / CLIPS / owner / (clip + SUFFIX)


def find_envelope_file(folder: Path, clip: str) -> Path | None:
    """Return the file of a clip in the archive ``folder``, whatever its index says."""
    if not _CLIP.fullmatch(clip):
        return None
    return next(iter(sorted((folder / CLIPS).glob(f"*/{clip}{SUFFIX}"))), None)


def list_clips(folder: Path) -> Iterator[str]:
    """Yield the ids of the clips that lie in one owner's folder, in no order.

    Names that are no clip's are passed over. Nothing is held in memory.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listing:
        for item in listing:
            clip = item.name.removesuffix(SUFFIX)
            if clip != item.name and _CLIP.fullmatch(clip):
                yield clip


def read_envelope_file(path: Path) -> bytes:
    """Return a file's bytes, at most one more than an envelope can have.

    Raises:
        OSError: it cannot be read, or it is a symbolic link or no plain file.
    """
    with open_plain_file(path) as file:
        return file.read(ENVELOPE_LIMIT_BYTES + 1)


def write_envelope_file(path: Path, data: bytes) -> bool:
    """Write an envelope durably and make its folder; return False if the same is there already.

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
    """Overwrite files and unlink them; those that are not there are passed over.

    All are overwritten, then the file system is synced once, then all are unlinked: one wait for
    the disk instead of one each. Flash keeps copies all the same: only ciphertext was here.

    Raises:
        OSError: one cannot be written.
    """
    written = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "wb", buffering=0) as file:
                left = os.fstat(handle).st_size
                while left > 0:
                    left -= file.write(bytes(min(left, _ZEROS_BYTES)))
            written.append(path)
    folders = {path.parent for path in written}
    for folder in folders:
        _sync_all(folder)
    # To free a file's blocks is to wait for the disk, and the disk takes several at once.
    with ThreadPoolExecutor(_UNLINKERS) as unlinkers:
        list(unlinkers.map(_unlink, written))
    for folder in folders:
        sync_folder(folder)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _sync_all(folder: Path) -> None:
    """Bring all that was written to the file system of a folder to its disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Python has sync for all file systems, and none for one.
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)
