"""SQLite databases: logs that are overwritten, and errors that name their cause."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.errors import DiskFull, Unavailable
from listener.storage import free_space
from listener.storage import sqlite as databases
from listener.storage.sqlite import (
    close_database,
    open_database,
    overwrite_log,
    transaction,
    translate_sqlite_errors,
)

SCHEMA = "create table if not exists item (id integer primary key, text text not null) strict;"
TEXT = "hall 2026-11-20T03:04:07.000Z"
HINT = "restore it"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.sqlite"


@pytest.fixture
def items(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(path, SCHEMA)
    yield connection
    connection.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def add_and_delete(items: sqlite3.Connection) -> None:
    for number in range(30):
        with transaction(items):
            items.execute("insert into item values (?, ?)", (number, TEXT))
    items.execute("delete from item where id > 0")
    items.execute("update item set text = 'kept'")


def test_overwritten_log_contains_nothing_of_deleted_rows(
    items: sqlite3.Connection, path: Path
) -> None:
    add_and_delete(items)
    log = log_of(path)
    assert TEXT.encode() in log.read_bytes()
    # A second name keeps the blocks, which truncation would free.
    with log.open("rb") as blocks:
        length = log.stat().st_size
        truncated = os.dup(blocks.fileno())

    written: list[bytes] = []
    before = os.fsync

    def look(handle: int) -> None:
        before(handle)
        if os.path.samestat(os.fstat(handle), os.fstat(truncated)):
            written.append(os.pread(truncated, length + 1, 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", look)
        assert overwrite_log(items, path)
    os.close(truncated)

    # First the header, on the disk, so that no part of the log is valid; then the rest.
    assert written[0][:32] == bytes(32)
    assert TEXT.encode() in written[0]
    assert written[1] == bytes(length)
    assert log.stat().st_size == 0
    assert TEXT.encode() not in path.read_bytes()
    assert items.execute("select * from item").fetchall() == [(0, "kept")]


def test_closing_overwrites_the_log_before_sqlite_deletes_it(
    items: sqlite3.Connection, path: Path
) -> None:
    add_and_delete(items)
    blocks = log_of(path).open("rb")

    close_database(items, path)

    with blocks:
        assert TEXT.encode() not in blocks.read()
    assert TEXT.encode() not in path.read_bytes()


def test_reader_delays_overwriting_and_reads_on(
    items: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_LOG_TIMEOUT_S", 0)
    for number in range(30):
        items.execute("insert into item values (?, ?)", (number, TEXT))
    reader = sqlite3.connect(path, isolation_level=None)
    rows = reader.execute("select * from item")
    assert rows.fetchone() == (0, TEXT)
    items.execute("delete from item")

    assert not overwrite_log(items, path)

    assert len(rows.fetchall()) == 29
    reader.close()
    assert overwrite_log(items, path)
    assert TEXT.encode() not in path.read_bytes() + log_of(path).read_bytes()


def test_rows_of_another_writer_survive(items: sqlite3.Connection, path: Path) -> None:
    other = open_database(path, SCHEMA)

    for number in range(50):
        writer = (items, other)[number % 2]
        writer.execute("insert into item values (?, ?)", (number, TEXT))
        assert overwrite_log((items, other)[number % 3 % 2], path)

    other.close()
    assert items.execute("select count(*) from item").fetchone() == (50,)
    assert items.execute("pragma integrity_check").fetchone() == ("ok",)


def test_kill_while_the_log_is_overwritten_loses_no_row(path: Path, tmp_path: Path) -> None:
    """Copies of the files at each fsync, opened as after a power cut."""
    connection = open_database(path, SCHEMA)
    for number in range(300):
        connection.execute("insert into item values (?, ?)", (number, TEXT * 3))
    copies: list[Path] = []
    before = os.fsync

    def copy(handle: int) -> None:
        before(handle)
        folder = tmp_path / f"copy-{len(copies)}"
        folder.mkdir()
        for each in (path, log_of(path)):
            (folder / each.name).write_bytes(each.read_bytes())
        copies.append(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", copy)
        assert overwrite_log(connection, path)
    connection.close()

    assert len(copies) == 2
    for folder in copies:
        found = sqlite3.connect(folder / path.name)
        assert found.execute("select count(*) from item").fetchone() == (300,)
        assert found.execute("pragma integrity_check").fetchone() == ("ok",)
        found.close()


class Failure(sqlite3.OperationalError):
    """An error of SQLite with a code."""

    def __init__(self, code: int) -> None:
        super().__init__("disk I/O error")
        self.sqlite_errorcode = code


def translate(path: Path, error: Exception) -> Unavailable:
    with pytest.raises(Unavailable) as caught, translate_sqlite_errors("the items", HINT, path):
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        Failure(sqlite3.SQLITE_FULL),
        Failure(sqlite3.SQLITE_IOERR_SHMSIZE),
        Failure(sqlite3.SQLITE_IOERR_WRITE),
        Failure(sqlite3.SQLITE_CANTOPEN),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_full_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(databases, "is_full", lambda _: True)

    failure = translate(path, error)

    assert isinstance(failure, DiskFull)
    assert "is full" in str(failure)
    assert failure.hint == "free some space on that disk"


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN])
def test_read_only_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(databases, "is_read_only", lambda _: True)

    failure = translate(path, Failure(code))

    assert "read-only" in str(failure)
    assert HINT not in failure.hint


def test_exhausted_descriptors_are_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)

    failure = translate(path, Failure(sqlite3.SQLITE_CANTOPEN))

    assert "Too many open files" in str(failure)
    assert "limit of open files" in failure.hint


def test_failing_disk_is_named(path: Path) -> None:
    assert "dmesg" in translate(path, Failure(sqlite3.SQLITE_IOERR_READ)).hint


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
def test_only_damage_has_the_hint_about_damage(path: Path, code: int) -> None:
    assert translate(path, Failure(code)).hint == HINT
    assert translate(path, Failure(sqlite3.SQLITE_BUSY)).hint == ""
    assert translate(path, sqlite3.ProgrammingError("closed")).hint == ""


def test_disk_without_room_or_inodes_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)

    def disk(free_blocks: int, free_files: int) -> None:
        fields = list(real)
        fields[4], fields[5], fields[7] = free_blocks, 1000, free_files
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(fields))

    for free_blocks, free_files, is_full in ((0, 9, True), (1 << 20, 9, False), (1 << 20, 0, True)):
        disk(free_blocks, free_files)
        assert free_space.is_full(tmp_path) is is_full
