"""Storage of one archive process of a fleet, assembled of its parts."""

import contextlib
import os
import secrets
import time

from listener.archive.challenges import RequestChallenges
from listener.archive.fleet.background_sweep import BackgroundSweep
from listener.archive.fleet.election import Election
from listener.archive.fleet.fleet_store import FleetStore, open_database
from listener.archive.fleet.object_blobs import ObjectBlobs, open_objects
from listener.archive.fleet.sharded_log import ShardedLog
from listener.archive.fleet.shared_home import SharedHome
from listener.archive.fleet.tickets import SharedTickets, ticket_secret
from listener.archive.process_storage import ArchiveStorage
from listener.archive.records import RowMac
from listener.config import Config
from listener.storage.atomic import make_folder
from listener.storage.home import Home

_ROSTER_DELAY_S = 60.0
"""Time after which each process has read a changed roster."""


def open_fleet(settings: Config, home: Home, stack: contextlib.ExitStack) -> ArchiveStorage:
    """Open the storage of one of several archive processes; ``stack`` closes it.

    Raises:
        ConfigError: ``archive.database`` or ``archive.objects`` is not valid.
        Unavailable: it cannot be used.
    """
    key = home.archive_key()
    store = open_fleet_store(settings, RowMac.for_key(key), stack)
    database = store.database
    make_folder(home.path / "archive")
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


def open_fleet_store(settings: Config, row_mac: RowMac, stack: contextlib.ExitStack) -> FleetStore:
    """Open a fleet's clips.

    Args:
        settings: with ``archive.database`` and ``archive.objects``.
        row_mac: MAC of the rows.
        stack: closes the connections.

    Raises:
        ConfigError: ``archive.database`` or ``archive.objects`` is not valid.
        Unavailable: it cannot be used.
    """
    archive = settings.archive
    objects = open_objects(archive.objects or "", os.environ)
    blobs = ObjectBlobs(objects)
    database = open_database(archive.database or "", blobs)
    store = FleetStore(database, blobs, str(archive.instance), row_mac)
    return stack.enter_context(contextlib.closing(store))
