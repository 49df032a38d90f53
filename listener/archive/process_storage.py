"""Storage of one archive process: files and SQLite, or a fleet's database."""

from collections.abc import Callable
from dataclasses import dataclass

from listener.archive.archive_clock import ArchiveClock
from listener.archive.challenges import RequestChallenges
from listener.archive.disk import ArchiveDisk
from listener.archive.service import Sweep
from listener.archive.storage_interfaces import ClipStore, LogChain
from listener.envelope.format import Envelope
from listener.storage.home import Home

Verify = Callable[[bytes], Envelope]


@dataclass(frozen=True, slots=True)
class ArchiveStorage:
    """What an archive process stores in, and what depends on it."""

    home: Home
    """The home by which the archive reads and changes the roster."""
    store: ClipStore
    log: LogChain
    challenges: RequestChallenges
    disk: ArchiveDisk | None
    """None where the clips are not on a disk of this computer."""
    upkeep: Callable[[], None]
    """Called after every turn; raises ``Unavailable``."""
    repair: Callable[[Verify], int]
    """Repairs at the start and before a removed device's key gets its bound."""
    sweep: Callable[[Verify, ArchiveClock], Sweep]
    is_elected: Callable[[], bool]
    roster_delay_s: float
