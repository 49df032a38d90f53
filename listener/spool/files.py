"""The spool's folder on the disk: one operation at a time, each file whole or not there.

What lies at the border: envelopes by their names, and a few files of our own.

Two of those lie here because hear and send may both reach them: what owners chose, and what they
say of their next keys.
"""

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.spool.ledger import LEDGER
from listener.storage import atomic
from listener.storage.atomic import PART

QUARANTINE: Final = "quarantine"
TERMS: Final = "retention.json"
"""How long owners let a clip wait here: send's own."""
FOLLOWING: Final = "following.json"
"""What the archive carried of owners' next keys: send lays it here, hear judges it."""

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


_NOT_TO_CHANGE: Final = 0o640  # whoever shares the spool may read an envelope, and remove it


class SpoolFolder:
    """Where envelopes lie. Creating one touches nothing; one instance belongs to one thread.

    Args:
        path: made with mode 0700 by whoever first locks it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._swept = False

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        """Hold the folder open; yield its descriptor.

        Raises:
            OSError: it cannot be opened, or is a link.
        """
        with open_directory(self.path) as folder:
            yield folder

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Open the folder and keep every other operation out of it, of other processes too.

        Raises:
            OSError: it cannot be made, opened or swept.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.open() as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not self._swept:
                # Nobody else is writing, so every unfinished file is what a crash left.
                with os.scandir(folder) as listing:
                    names = [item.name for item in listing]
                for name in names:
                    if name.endswith(PART) and NAME.fullmatch(name.removesuffix(PART)):
                        os.unlink(name, dir_fd=folder)
                self._swept = True
            yield folder


@contextlib.contextmanager
def write_envelope(folder: int, entry: SpoolEntry, data: bytes, stamp_s: float) -> Iterator[None]:
    """Write an envelope: in the block its bytes are safe, and behind it the file has its name.

    Where anything fails, in the block too, no file is left.

    Args:
        folder: a descriptor of the locked folder.
        entry: what names the file.
        data: its bytes.
        stamp_s: for how long the machine was seen running.

    Raises:
        OSError: it cannot be written.
    """
    part = entry.name + PART
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    try:
        with atomic.create_file(part, folder=folder) as file:
            file.write(data)
            file.flush()  # a later write would change the time
            handle = file.fileno()
            os.utime(handle, (stamp_s, stamp_s))
            atomic.chown_to_parent(handle, folder)
            os.fchmod(handle, atomic.shared_mode(folder) & _NOT_TO_CHANGE)
        yield
        os.rename(part, entry.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)
