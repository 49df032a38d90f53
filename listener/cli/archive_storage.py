"""Storage of ``earmark archive``: files and SQLite of one process, or a fleet's database."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from listener.archive.archive_clock import ArchiveClock
from listener.archive.challenges import RequestChallenges
from listener.archive.disk import ArchiveDisk
from listener.archive.records import RowMac
from listener.archive.service import ExpirySweep, Sweep
from listener.archive.storage_interfaces import ClipStore, LogChain
from listener.archive.store import FileStore
from listener.config import Config
from listener.envelope.format import Envelope
from listener.errors import UsageError
from listener.storage import atomic
from listener.storage.access_log import ACCESS_LOG, AccessLog
from listener.storage.atomic import make_folder
from listener.storage.home import Home

if TYPE_CHECKING:
    from listener.archive.fleet.fleet_store import FleetStore

_ROSTER_DELAY_S = 60.0
"""Time after which each process has read a changed roster."""

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


def archive_folder(settings: Config) -> Path:
    """Return the folder of the archive's files."""
    return Path(settings.home) / "archive"


def open_storage(settings: Config, home: Home, stack: contextlib.ExitStack) -> ArchiveStorage:
    """Open the storage that the configuration names; ``stack`` closes it.

    Raises:
        ConfigError: ``archive.database`` or ``archive.objects`` is not valid.
        Unavailable: it cannot be used.
    """
    if settings.archive.database is None:
        return _open_files(settings, home, stack)
    return _open_fleet(settings, home, stack)


def _open_files(settings: Config, home: Home, stack: contextlib.ExitStack) -> ArchiveStorage:
    folder = archive_folder(settings)
    # Otherwise each clip would be refused, one after the other.
    atomic.check_links(folder)
    log = stack.enter_context(contextlib.closing(AccessLog(home.path / ACCESS_LOG, time.time)))
    store = stack.enter_context(
        contextlib.closing(FileStore(folder, row_mac=RowMac.for_key(home.archive_key())))
    )
    disk = ArchiveDisk(store, folder, settings.archive.least_free_bytes)
    return ArchiveStorage(
        home=home,
        store=store,
        log=log,
        challenges=RequestChallenges(time.monotonic),
        disk=disk,
        upkeep=disk.upkeep,
        repair=store.repair,
        sweep=lambda verify, clock: ExpirySweep(store, lambda: store.repair(verify), clock),
        is_elected=lambda: True,
        roster_delay_s=0.0,
    )


def _open_fleet(settings: Config, home: Home, stack: contextlib.ExitStack) -> ArchiveStorage:
    key = home.archive_key()
    store = open_fleet_store(
        settings, RowMac.for_key(key), stack
    )  # first: it names a missing extra
    from listener.archive.fleet.background_sweep import BackgroundSweep  # noqa: PLC0415 - loads psycopg
    from listener.archive.fleet.election import Election  # noqa: PLC0415 - loads psycopg
    from listener.archive.fleet.sharded_log import ShardedLog  # noqa: PLC0415 - loads psycopg
    from listener.archive.fleet.shared_home import SharedHome  # noqa: PLC0415 - loads psycopg
    from listener.archive.fleet.tickets import SharedTickets, ticket_secret  # noqa: PLC0415 - loads psycopg

    database = store.database
    make_folder(archive_folder(settings))
    instance = settings.archive.instance
    election = Election(database, "publisher", f"{instance}-{secrets.token_hex(8)}")
    shared = SharedHome(home.path, database, str(instance), RowMac.for_key(key))
    shared.sync()
    return ArchiveStorage(
        home=shared,
        store=store,
        log=ShardedLog(database, time.time, election),
        challenges=RequestChallenges(time.time, ticket_secret(key), SharedTickets(database)),
        disk=None,
        upkeep=shared.sync,
        repair=lambda _: 0,  # objects are repaired beside intake, by the sweep
        sweep=lambda verify, clock: BackgroundSweep(store, verify, clock),
        is_elected=election,
        roster_delay_s=_ROSTER_DELAY_S,
    )


def open_fleet_store(
    settings: Config, row_mac: RowMac, stack: contextlib.ExitStack
) -> "FleetStore":
    """Open a fleet's clips.

    Args:
        settings: with ``archive.database`` and ``archive.objects``.
        row_mac: MAC of the rows.
        stack: closes the connections.

    Raises:
        UsageError: the extra ``fleet`` is not installed.
        ConfigError, Unavailable: as ``open_storage``.
    """
    try:
        from listener.archive.fleet import fleet_store, object_blobs  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UsageError(
            f"archive.database needs the package {error.name}, which is not installed",
            "install it: pip install 'earmark[fleet]'",
        ) from error
    archive = settings.archive
    objects = object_blobs.open_objects(archive.objects or "", os.environ)
    blobs = object_blobs.ObjectBlobs(objects)
    database = fleet_store.open_database(archive.database or "", blobs)
    store = fleet_store.FleetStore(database, blobs, str(archive.instance), row_mac)
    return stack.enter_context(contextlib.closing(store))
