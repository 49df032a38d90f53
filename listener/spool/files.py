"""Files of the spool's folder: names, scanning, locking and writing of envelopes.

Besides envelopes it holds the ledger, the quarantine, the reason for which send publishes no clips,
files that hear and send share (the owners' retention limits, their key rotations and consents,
challenges to them and their answers, the highest accepted number), and send's list of replays.
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
from listener.storage import atomic
from listener.storage.atomic import LOCK_PATIENCE_S, PART, wait_for_lock

QUARANTINE: Final = "quarantine"
TERMS: Final = "retention.json"
"""File of the owners' retention limits; send's own."""
FOLLOWING: Final = "following.json"
"""File of the owners' key rotations; send stores it, hear verifies it."""
ACCEPTED: Final = "sequence.json"
"""File of the highest number that the archive accepted; send stores it, hear verifies it."""
CONSENTS: Final = "consents.json"
"""File of the owners' consents to voice control; send stores it, hear verifies it."""
OWNER_ANSWERS: Final = "owner-answers.json"
"""File of owners' answers to this device's challenges; send stores it, hear verifies it."""
OWNER_CHALLENGES: Final = "owner-challenges.json"
"""File of this device's signed challenges to its owners; hear writes it, send publishes it."""
PUBLISHED_TIMES: Final = "published.json"
"""File of the times at which what several brokers retain was published; send's own."""
REPLAYED: Final = "replayed.json"
"""File of the clips that the archive refused because their number was used; send's own."""

SUSPENDED: Final = "suspended"
"""File with the reason for which send publishes no clips; send's own."""

NOT_STORED: Final = "not-stored"
"""File with the reason for which the archive does not store a clip; send's own."""

_OURS: Final = frozenset(
    {
        LEDGER,
        QUARANTINE,
        TERMS,
        FOLLOWING,
        ACCEPTED,
        CONSENTS,
        OWNER_ANSWERS,
        OWNER_CHALLENGES,
        PUBLISHED_TIMES,
        REPLAYED,
        SUSPENDED,
        NOT_STORED,
    }
)

# Name of an envelope's file: sequence number, owner, clip.
NAME: Final = re.compile(
    r"([0-9]{12})\.([a-z0-9-]{1,32})"
    r"\.([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.earmark",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class SpoolEntry:
    """Envelope in the spool, by its file name. Sorts oldest first."""

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
    """Open a folder for the block, without following a link; yield its descriptor.

    Args:
        path: the folder.
        parent: a descriptor of the folder that ``path`` is relative to, if any.

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
    """Return entries with modification times, oldest first, and the number of foreign files.

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
                ours = item.name in _OURS
                foreign += not ours and not item.name.endswith(PART)
                continue
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed during the scan
            if stat.S_ISREG(status.st_mode):
                entry = SpoolEntry(int(named[1]), named[2], named[3], status.st_size)
                entries.append((entry, status.st_mtime))
            else:
                foreign += 1
    return sorted(entries), foreign


_READ_ONLY_FOR_GROUP: Final = 0o640  # the group may read an envelope and remove it


class SpoolFolder:
    """Folder of the spool. Constructing it touches no file; for one thread.

    Args:
        path: created with mode 0700 by the first lock.
        patience_s: longest wait for another process that holds the lock, in seconds.
    """

    def __init__(self, path: Path, patience_s: float = LOCK_PATIENCE_S) -> None:
        self.path = path
        self._patience_s = patience_s
        self._swept = False

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        """Open the folder for the block; yield its descriptor.

        Raises:
            OSError: it cannot be opened, or is a link.
        """
        with open_directory(self.path) as folder:
            yield folder

    @contextlib.contextmanager
    def lock(self, patience_s: float | None = None) -> Iterator[int]:
        """Open the folder with an exclusive lock, among processes too; yield its descriptor.

        Args:
            patience_s: longest wait for the lock in seconds; by default the folder's.

        Raises:
            TimeoutError: another process does not release the lock.
            OSError: it cannot be created, opened or cleaned.
        """
        atomic.make_folders(self.path)
        with self.open() as folder:
            try:
                wait_for_lock(folder, self._patience_s if patience_s is None else patience_s)
            except TimeoutError as error:
                raise TimeoutError(error.errno, error.strerror, str(self.path)) from error
            if not self._swept:
                # No other writer exists, so every incomplete file is what a crash left.
                with os.scandir(folder) as listing:
                    names = [item.name for item in listing]
                for name in names:
                    if name.endswith(PART) and NAME.fullmatch(name.removesuffix(PART)):
                        os.unlink(name, dir_fd=folder)
                self._swept = True
            yield folder


@contextlib.contextmanager
def write_envelope(folder: int, entry: SpoolEntry, data: bytes, stamp_s: float) -> Iterator[None]:
    """Write an envelope: its bytes are on the disk in the block, and its name after the block.

    If anything fails, in the block too, no file is left.

    Args:
        folder: a descriptor of the locked folder.
        entry: names the file.
        data: its bytes.
        stamp_s: the machine's running time, in seconds; becomes the modification time.

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
            os.fchmod(handle, atomic.shared_mode(folder) & _READ_ONLY_FOR_GROUP)
        yield
        os.rename(part, entry.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)
