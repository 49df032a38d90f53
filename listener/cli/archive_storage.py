"""Storage of ``earmark archive``: files and SQLite of one process, or a fleet's database."""

import contextlib
import importlib.util
import time
from pathlib import Path

from listener.archive.challenges import RequestChallenges
from listener.archive.disk import ArchiveDisk
from listener.archive.process_storage import ArchiveStorage
from listener.archive.records import RowMac
from listener.archive.service import ExpirySweep
from listener.archive.storage_interfaces import ClipStore
from listener.archive.store import FileStore
from listener.config import Config
from listener.errors import UsageError
from listener.storage import atomic
from listener.storage.access_log import ACCESS_LOG, AccessLog
from listener.storage.home import Home


def archive_folder(settings: Config) -> Path:
    """Return the folder of the archive's files."""
    return Path(settings.home) / "archive"


def open_storage(settings: Config, home: Home, stack: contextlib.ExitStack) -> ArchiveStorage:
    """Open the storage that the configuration names; ``stack`` closes it.

    Raises:
        UsageError: the extra ``fleet`` is not installed.
        ConfigError: ``archive.database`` or ``archive.objects`` is not valid.
        Unavailable: it cannot be used.
    """
    if settings.archive.database is None:
        return _open_files(settings, home, stack)
    _check_packages()
    from listener.archive.fleet import process  # noqa: PLC0415 - imports psycopg, of the extra fleet

    return process.open_fleet(settings, home, stack)


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


def open_fleet_store(settings: Config, row_mac: RowMac, stack: contextlib.ExitStack) -> ClipStore:
    """Open a fleet's clips alone; as ``listener.archive.fleet.process.open_fleet_store``.

    Raises:
        UsageError: the extra ``fleet`` is not installed.
    """
    _check_packages()
    from listener.archive.fleet import process  # noqa: PLC0415 - imports psycopg, of the extra fleet

    return process.open_fleet_store(settings, row_mac, stack)


def _check_packages() -> None:
    for name in ("psycopg", "obstore"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"archive.database needs the package {name}, which is not installed",
                "install it: pip install 'earmark[fleet]'",
            )
