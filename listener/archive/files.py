"""Envelope files: durable exclusive writes, and reads that follow no link."""

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from listener.archive.blobs import BlobConflict, UnreadableBlob
from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.errors import Unavailable
from listener.storage.atomic import make_folder, open_plain_file, write_once
from listener.storage.locations import CLIPS
from listener.storage.overwrite import overwrite

SUFFIX: Final = ".earmark"
_OF_ONE_FILE: Final = frozenset(
    {
        *(errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.EINVAL, errno.ELOOP, errno.EISDIR),
        *(errno.EACCES, errno.EPERM, errno.ENXIO),
    }
)
"""Errors that one file causes: a damaged sector, a link, a pipe, a file of another user."""
_CLIP: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


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


class FileBlobs:
    """Envelopes as files below ``clips/<owner>/``; see ``Blobs``.

    Args:
        folder: the archive's folder.

    Raises:
        OSError: from ``put_new`` and ``erase``, if a file cannot be written; the store, which holds
            its lock around them, translates it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put_new(self, owner: str, clip: str, data: bytes) -> bool:
        """Store an envelope durably; see ``Blobs``."""
        try:
            return write_envelope_file(clip_path(self._folder, owner, clip), data)
        except FileExistsError as error:
            raise BlobConflict("another file has its path") from error

    def get(self, owner: str, clip: str) -> bytes | None:
        """Return an envelope's bytes; see ``Blobs``."""
        try:
            return read_envelope_file(clip_path(self._folder, owner, clip))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _OF_ONE_FILE:
                raise UnreadableBlob("it cannot be read") from error
            raise Unavailable(f"cannot read a stored clip: {error}") from error

    def exists(self, owner: str, clip: str) -> bool:
        """Return True if there is a file, a link or a folder of this name; see ``Blobs``."""
        return os.path.lexists(clip_path(self._folder, owner, clip))

    def ids(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's files; see ``Blobs``."""
        return list_clips(self._folder / CLIPS / owner)

    def erase(self, places: Iterable[tuple[str, str]]) -> None:
        """Overwrite and remove files; see ``Blobs``."""
        overwrite(clip_path(self._folder, owner, clip) for owner, clip in places)

    def arrived_s(self, owner: str, clip: str) -> int:
        """Return a file's modification time; see ``Blobs``."""
        return int(clip_path(self._folder, owner, clip).stat().st_mtime)
