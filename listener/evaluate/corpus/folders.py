"""Folders of sounds and tables: walked in one order, read within bounds."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, Unavailable, UsageError
from listener.storage.recordings import SUFFIXES

SOUNDS: Final = SUFFIXES | {".mp3"}
"""What counts as a sound where a folder is walked."""

LARGEST_BYTES: Final = 256 << 20


def walk(folder: Path, endings: tuple[str, ...] | frozenset[str]) -> Iterator[Path]:
    """Give the files below ``folder`` with one of these endings, always in the same order.

    Raises:
        Unavailable: a folder cannot be read.
    """
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(tuple(endings)):
                yield Path(where, name)


def sounds_in(path: Path) -> tuple[Path, ...]:
    """Return a sound file, or all in a folder and below it, by name.

    Raises:
        UsageError: there is none.
    """
    found = (path,) if path.is_file() else tuple(walk(path, SOUNDS)) if path.is_dir() else ()
    if not found:
        raise UsageError(f"there is no sound file in {path}")
    return found


def text_of(path: Path) -> str:
    """Return what a table says; what is no UTF-8 in it is replaced. Errors as of ``bytes_of``."""
    return bytes_of(path).decode("utf-8", "replace")


def bytes_of(path: Path) -> bytes:
    """Return the whole of a file.

    Raises:
        ConfigError: it is larger than any table.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise unavailable(error) from error
    if len(data) > LARGEST_BYTES:
        raise ConfigError(f"{path} is larger than any table")
    return data


def unavailable(error: OSError) -> Unavailable:
    """Return the error for a file or folder that cannot be read, with its name and the reason."""
    return Unavailable(f"cannot read {printable(str(error.filename))}: {error.strerror}")


def printable(name: str) -> str:
    """Return a name that JSON can say, of one that may hold bytes which are no UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _unreadable(error: OSError) -> None:
    raise unavailable(error) from error
