"""What the image's builder keeps between runs, and when it has to be made again."""

import argparse
import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

_MOMENT: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def snapshot(text: str) -> str:
    """Return a moment as snapshot.debian.org writes it in its addresses; for argparse.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    if _MOMENT.fullmatch(text):
        with contextlib.suppress(ValueError):
            datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is no moment as snapshot.debian.org writes it: 20261122T000000Z"
    )


def is_stale(
    made: Path, sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()
) -> bool:
    """Say whether something is missing, or was made of something else."""
    marked = _marked(made)
    return not (
        made.exists() and marked.exists() and marked.read_text() == key(sources, given, words)
    )


def mark(
    made: Path, sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()
) -> None:
    """Write down beside a file what it was made of."""
    _marked(made).write_text(key(sources, given, words))


def forget(made: Path) -> None:
    """Have it made again, whatever it was made of."""
    _marked(made).unlink(missing_ok=True)


def key(sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()) -> str:
    """Return a digest of all that has a say: files, variables, and words of the command line."""
    told = hashlib.sha256()
    for name, value in sorted(given.items()):
        told.update(f"{name}={value}\0".encode())
    for word in words:
        told.update(f"{word}\0".encode())
    for source in sources:
        told.update(source.name.encode() + b"\0" + bytes.fromhex(digest(source)))
    return told.hexdigest()


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _marked(made: Path) -> Path:
    return made.with_suffix(".inputs")
