"""A full disk: owners list and erase, expiry makes room, and new clips wait."""

import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from listener.archive import disk as disks
from listener.archive.archive_clock import SWEEP_PAUSE_S
from listener.archive.disk import UPKEEP_PAUSE_S, ArchiveDisk
from listener.archive.receiver import Receiver
from listener.archive.service import ExpirySweep
from listener.archive.store import FileStore
from listener.errors import DiskFull, Unavailable
from listener.storage import free_space, sqlite
from listener.storage.access_log import ACCESS_LOG, AccessLog
from listener.storage.reserve import RESERVE
from tests.archive.computer import make_clock
from tests.archive.conftest import NOON_S, ClipFactory, FakeClock, OwnerClient
from tests.archive.tampering import delete_rows

if TYPE_CHECKING:
    from tests.conftest import Household

GIB = 1 << 30


class FullError(sqlite3.OperationalError):
    """SQLite's error on a full disk."""

    sqlite_errorcode = sqlite3.SQLITE_FULL

    def __init__(self) -> None:
        super().__init__("database or disk is full")


class FakeDisk:
    """A disk that is full, for SQLite, for as long as the reserve exists.

    Attributes:
        is_full: whether it is full.
        has_no_room: whether it stays full without the reserve, too.
        most_rows: number of rows that fit at once while it is full.
        failures: number of writes that it refused.
    """

    def __init__(self, home: Path) -> None:
        self._reserve = home / RESERVE
        self.is_full = False
        self.has_no_room = False
        self.most_rows = 1 << 30
        self.failures = 0

    def check(self, sql: str, rows: int = 1) -> None:
        """Refuse a statement that writes, if the disk is full."""
        writes = sql.lstrip().startswith(("insert", "delete", "update", "create"))
        no_room = self._reserve.exists() or self.has_no_room or rows > self.most_rows
        if writes and self.is_full and no_room:
            self.failures += 1
            raise FullError

    def connect(self, path: Path, **options: Any) -> sqlite3.Connection:  # noqa: ANN401 - typeshed has no type for SQLite's values
        """Connect as ``sqlite3.connect`` does."""
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - typeshed has no type for SQLite's values
                disk.check(sql)
                return super().execute(sql, *parameters)

            def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - typeshed has no type for SQLite's values
                rows = list(parameters)
                disk.check(sql, len(rows))
                return super().executemany(sql, rows)

            def executescript(self, script: str) -> sqlite3.Cursor:
                disk.check("create")
                return super().executescript(script)

        return real_connect(path, factory=Connection, **options)


real_connect = sqlite3.connect


@pytest.fixture(autouse=True)
def fake_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDisk:
    """The disk of every database that the other fixtures open."""
    made = FakeDisk(home)
    monkeypatch.setattr(sqlite3, "connect", made.connect)
    return made


@pytest.fixture
def disk(store: FileStore, folder: Path, clock: FakeClock) -> ArchiveDisk:
    made = ArchiveDisk(store, folder, 64 << 20, clock)
    made.upkeep()
    return made


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("list", {}),
        ("erase", {"all": True}),
        ("retention", {"days": 3}),
        ("log", {}),
        ("keys", {}),
        ("export", {}),
    ],
)
def test_every_right_works_on_a_full_disk(
    ada: OwnerClient,
    clip_factory: ClipFactory,
    fake_disk: FakeDisk,
    disk: ArchiveDisk,
    home: Path,
    op: str,
    fields: dict[str, object],
) -> None:
    del disk
    made = [clip_factory.put() for _ in range(6)]
    fake_disk.is_full = True

    reply = ada.request(op, **fields)

    assert reply.status_code == 200
    assert fake_disk.failures > 0
    assert not (home / RESERVE).exists()
    if op == "erase":
        assert reply.json()["receipt"]["count"] == 6
        assert not any(clip_factory.path(header).exists() for header in made)


def test_quarantined_files_are_erased_on_a_full_disk(
    ada: OwnerClient,
    store: FileStore,
    clip_factory: ClipFactory,
    fake_disk: FakeDisk,
    disk: ArchiveDisk,
    folder: Path,
) -> None:
    del disk
    path = clip_factory.path(clip_factory.put())
    path.write_bytes(path.read_bytes()[:-1])
    delete_rows(store)
    store.repair(Receiver(store, clip_factory.household.home.roster, lambda: NOON_S).verify)
    assert list((folder / "quarantine" / "ada").iterdir())
    fake_disk.is_full = True

    assert ada.request("erase", all=True).json()["receipt"]["count"] == 1
    assert not list((folder / "quarantine" / "ada").iterdir())


def test_erasure_takes_smaller_steps_where_a_batch_does_not_fit(
    ada: OwnerClient, clip_factory: ClipFactory, fake_disk: FakeDisk, disk: ArchiveDisk
) -> None:
    del disk
    made = [clip_factory.put() for _ in range(20)]
    fake_disk.is_full, fake_disk.most_rows = True, 1

    assert ada.request("erase", all=True).json()["receipt"]["count"] == 20
    assert not any(clip_factory.path(header).exists() for header in made)


def test_expiry_makes_room_on_a_full_disk(
    store: FileStore,
    receiver: Receiver,
    clip_factory: ClipFactory,
    fake_disk: FakeDisk,
    disk: ArchiveDisk,
    folder: Path,
) -> None:
    """Even where the index cannot be repaired first."""
    del disk
    clip_factory.put()
    clip_factory.put()
    wall, monotonic = FakeClock(NOON_S + 40 * 86_400), FakeClock(0.0)

    def repair() -> int:
        raise DiskFull(folder)

    sweep = ExpirySweep(store, repair, make_clock(wall, monotonic))
    fake_disk.is_full = True
    for clock in (wall, monotonic):
        clock.now_s += SWEEP_PAUSE_S

    assert sweep.run_if_due() == 2
    fake_disk.is_full = False
    assert store.repair(receiver.verify) == 0
    assert not list(folder.rglob("*.earmark"))


def test_archive_opens_on_a_full_disk_with_its_reserve(
    household: "Household", folder: Path, fake_disk: FakeDisk, home: Path
) -> None:
    del household
    (home / RESERVE).write_bytes(bytes(100))
    fake_disk.is_full = True

    store = FileStore(folder)
    (home / RESERVE).write_bytes(bytes(100))
    log = AccessLog(home / ACCESS_LOG, lambda: NOON_S)

    store.close()
    log.close()


def test_full_disk_without_a_reserve_is_named(
    ada: OwnerClient, folder: Path, fake_disk: FakeDisk, home: Path
) -> None:
    fake_disk.is_full = fake_disk.has_no_room = True

    reply = ada.request("list")

    assert reply.status_code == 503
    assert reply.json()["message"] == "the archive's disk is full"
    assert "free some space" in reply.json()["hint"]
    for opened in (
        partial(FileStore, folder),
        partial(AccessLog, home / ACCESS_LOG, lambda: NOON_S),
    ):
        with pytest.raises(DiskFull, match="is full") as caught:
            opened()
        assert caught.value.hint == "free some space on that disk"


def set_free(monkeypatch: pytest.MonkeyPatch, free: int, total: int) -> None:
    fields = list(os.statvfs("/"))
    fields[0], fields[1], fields[2], fields[4] = 4096, 4096, total // 4096, free // 4096
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))


@pytest.mark.parametrize(
    ("free", "total", "bound", "has_room"),
    [
        (63 << 20, GIB, 64 << 20, False),
        (65 << 20, GIB, 64 << 20, True),
        (400 << 20, 10 * GIB, 64 << 20, False),  # 5 %
        (600 << 20, 10 * GIB, 64 << 20, True),
        (GIB + (1 << 20), 4000 * GIB, 64 << 20, True),  # 5 %, at most 1 GiB
        (GIB - (1 << 20), 4000 * GIB, 64 << 20, False),
        (1 << 20, GIB, 0, True),
        (3 << 20, 16 << 20, 2 << 20, True),
    ],
)
def test_new_clips_leave_room_for_erasures(
    store: FileStore,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    total: int,
    bound: int,
    *,
    has_room: bool,
) -> None:
    disk = ArchiveDisk(store, folder, bound)
    set_free(monkeypatch, free, total)

    if has_room:
        disk.check_room()
    else:
        with pytest.raises(Unavailable, match="almost full"):
            disk.check_room()


def test_reserve_is_made_again_when_there_is_room(
    disk: ArchiveDisk, home: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (home / RESERVE).exists()
    (home / RESERVE).unlink()
    set_free(monkeypatch, 1 << 10, GIB)

    clock.now_s += UPKEEP_PAUSE_S
    disk.upkeep()
    assert not (home / RESERVE).exists()

    monkeypatch.undo()
    disk.upkeep()
    assert not (home / RESERVE).exists(), "at most once a minute"
    clock.now_s += UPKEEP_PAUSE_S
    disk.upkeep()
    assert (home / RESERVE).exists()


def test_log_that_a_reader_kept_is_overwritten_later(
    ada: OwnerClient,
    store: FileStore,
    clip_factory: ClipFactory,
    disk: ArchiveDisk,
    folder: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite, "_LOG_TIMEOUT_S", 0)
    header = clip_factory.put(t="2026-11-20T03:04:05.678Z")
    clip_factory.put()
    reader = real_connect(folder / "index.sqlite", isolation_level=None)
    rows = reader.execute("select * from clip")
    rows.fetchone()

    assert ada.request("erase", all=True).json()["receipt"]["count"] == 2

    def index_bytes() -> bytes:
        return b"".join(path.read_bytes() for path in folder.glob("index.sqlite*"))

    assert header.t.encode() in index_bytes()
    rows.close()
    reader.close()
    clock.now_s += UPKEEP_PAUSE_S
    disk.upkeep()
    assert header.t.encode() not in index_bytes()
    assert list(store.clips()) == []


def test_unreadable_disk_refuses_new_clips(
    disk: ArchiveDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disks, "free_bytes", fail)

    with pytest.raises(Unavailable, match="Input/output error"):
        disk.check_room()
    assert free_space.is_full(Path("/missing")) is False
