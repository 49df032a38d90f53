"""SQLite databases: permissions, transactions, added columns and errors."""

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.storage.sqlite import open_database, transaction, translate_sqlite_errors

SCHEMA = "create table if not exists item (name text primary key) strict;"


@pytest.fixture
def base(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_database(tmp_path / "base", SCHEMA)) as connection:
        yield connection


def count(base: sqlite3.Connection) -> int:
    number: int = base.execute("select count(*) from item").fetchone()[0]
    return number


def test_database_is_durable_and_for_its_owner_alone(
    base: sqlite3.Connection, tmp_path: Path
) -> None:
    base.execute("insert into item values ('a')")

    pragmas = ("journal_mode", "synchronous", "secure_delete", "trusted_schema")
    values = [base.execute(f"pragma {name}").fetchone()[0] for name in pragmas]
    assert values == ["wal", 2, 1, 0]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("base", "base-shm", "base-wal"), 0o600)


def test_failed_transaction_is_rolled_back(base: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError), transaction(base):
        base.executemany("insert into item values (?)", [("a",), ("a",)])
    assert count(base) == 0

    with transaction(base):
        base.execute("insert into item values ('a')")
    assert count(base) == 1
    assert not base.in_transaction


def test_transaction_that_sqlite_ended_reports_its_error(base: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.IntegrityError), transaction(base):
        base.execute("insert or rollback into item values ('a'), ('a')")


def test_columns_are_added_to_an_earlier_file(base: sqlite3.Connection, tmp_path: Path) -> None:
    base.execute("insert into item values ('a')")
    added = [("item", "size", "integer not null default 7")]

    for _ in range(2):
        with contextlib.closing(open_database(tmp_path / "base", SCHEMA, added)) as later:
            assert later.execute("select name, size from item").fetchall() == [("a", 7)]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"not a database" * 1000)

    with (
        pytest.raises(Unavailable, match="cannot use the list: file is not a database") as caught,
        translate_sqlite_errors("the list", "restore it"),
    ):
        open_database(tmp_path / "file", SCHEMA)
    assert caught.value.hint == "restore it"
    with (
        pytest.raises(Unavailable, match="cannot use the list: No such file"),
        translate_sqlite_errors("the list", "restore it"),
    ):
        open_database(tmp_path / "missing" / "file", SCHEMA)
