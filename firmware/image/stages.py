"""Cache of the image builder's stages: each is built again when an input changes."""

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
    """Return a timestamp of snapshot.debian.org; an argparse type.

    Raises:
        argparse.ArgumentTypeError: the text is not a timestamp in that form.
    """
    if _MOMENT.fullmatch(text):
        with contextlib.suppress(ValueError):
            datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a timestamp of snapshot.debian.org, such as 20261122T000000Z"
    )


def is_stale(
    made: Path, sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()
) -> bool:
    """Return whether a file is missing or was built from other inputs."""
    marked = _mark_path(made)
    return not (
        made.exists() and marked.exists() and marked.read_text() == key(sources, given, words)
    )


def mark(
    made: Path, sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()
) -> None:
    """Write the digest of the inputs beside a file."""
    _mark_path(made).write_text(key(sources, given, words))


def forget(made: Path) -> None:
    """Delete the mark, so that the file is built again."""
    _mark_path(made).unlink(missing_ok=True)


def key(sources: Iterable[Path], given: Mapping[str, str], words: Sequence[str] = ()) -> str:
    """Return a digest of all inputs: files, variables and arguments."""
    state = hashlib.sha256()
    for name, value in sorted(given.items()):
        state.update(f"{name}={value}\0".encode())
    for word in words:
        state.update(f"{word}\0".encode())
    for source in sources:
        state.update(source.name.encode() + b"\0" + bytes.fromhex(digest(source)))
    return state.hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _mark_path(made: Path) -> Path:
    return made.with_suffix(".inputs")
