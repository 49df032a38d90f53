"""Envelope files: durable exclusive writes, and reads that follow no link."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.envelope.format import ENVELOPE_LIMIT_BYTES
from listener.storage.atomic import make_folder, open_plain_file, write_once
from listener.storage.locations import CLIPS

SUFFIX: Final = ".earmark"
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
