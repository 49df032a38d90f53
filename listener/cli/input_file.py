"""Files that a command reads from a path or from standard input."""

import sys
from pathlib import Path

from listener.errors import Unavailable


def read_input(path: str, longest_bytes: int) -> bytes:
    """Return the content of a file, at most one byte more than it may have.

    Args:
        path: the file, or ``-`` for standard input.
        longest_bytes: bytes that the caller accepts; it refuses what is longer.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(longest_bytes + 1)
        with Path(path).open("rb") as file:
            return file.read(longest_bytes + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
