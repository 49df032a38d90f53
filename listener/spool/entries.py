"""What lies at the border: envelopes by their names, and a few files of our own.

Two of those lie here because hear and send may both reach them: what owners chose, and what they
say of their next keys.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.spool.ledger import LEDGER

QUARANTINE: Final = "quarantine"
TERMS: Final = "retention.json"
"""How long owners let a clip wait here: send's own."""
FOLLOWING: Final = "following.json"
"""What the archive carried of owners' next keys: send lays it here, hear judges it."""
PART: Final = ".part"
"""Ends the name of what is not written to its end."""

# Of an envelope's file.
NAME: Final = re.compile(
    r"([0-9]{12})\.([a-z0-9-]{1,32})"
    r"\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.earmark",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class SpoolEntry:
    """An envelope in the spool, as its file name tells it. Sorts oldest first."""

    seq: int
    owner: str
    clip: str
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.seq:012d}.{self.owner}.{self.clip}.earmark"


@contextlib.contextmanager
def open_directory(path: Path | str, parent: int | None = None) -> Iterator[int]:
    """Hold a folder open, and no link to one; yield its descriptor.

    Args:
        path: of the folder.
        parent: a descriptor of the folder in which it lies, if any.

    Raises:
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, dir_fd=parent)
    try:
        yield handle
    finally:
        os.close(handle)


def scan(folder: int) -> tuple[list[tuple[SpoolEntry, float]], int]:
    """Return the entries with their stamps, the oldest first, and how many files are foreign.

    Args:
        folder: a descriptor.

    Raises:
        OSError: it cannot be read.
    """
    entries = []
    foreign = 0
    with os.scandir(folder) as listing:
        for item in listing:
            named = NAME.fullmatch(item.name)
            if named is None:
                ours = item.name in {LEDGER, QUARANTINE, TERMS, FOLLOWING}
                foreign += not ours and not item.name.endswith(PART)
                continue
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # it left while we looked
            if stat.S_ISREG(status.st_mode):
                entry = SpoolEntry(int(named[1]), named[2], named[3], status.st_size)
                entries.append((entry, status.st_mtime))
            else:
                foreign += 1
    return sorted(entries), foreign
