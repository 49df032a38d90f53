"""Access log: concurrent appends, hash chain, errors."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.rights import hash_chain
from listener.storage.access_log import AccessLog, LogEntry

T_S = 1_795_334_400.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AccessLog]:
    with contextlib.closing(AccessLog(tmp_path / "log", lambda: T_S)) as opened:
        yield opened


def entry(owner: str = "ada", other: str | None = None) -> LogEntry:
    return LogEntry(owner=owner, op="list", outcome="done", other=other, count=2)


def test_rows_form_a_chain_that_survives_a_restart(log: AccessLog, tmp_path: Path) -> None:
    heads = [log.append(entry()) for _ in range(3)]
    log.close()

    with contextlib.closing(AccessLog(tmp_path / "log", lambda: T_S)) as again:
        assert again.head() == heads[-1]
        assert hash_chain.verify_chain(again.rows(), heads) == heads[-1]
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_page_has_only_the_bodies_of_the_owner(log: AccessLog) -> None:
    log.append(entry("ada"))
    log.append(entry("bob"))
    log.append(entry("bob", other="ada"))

    assert ["body" in row for row in log.page("ada", 0, 9)] == [True, False, True]
    assert ["body" in row for row in log.page(None, 1, 1)] == [True]
    bodies = [row["body_sha256"] for row in log.page("cleo", 0, 9)]
    assert len(set(bodies)) == 3


def test_changed_row_breaks_the_chain_at_its_number(log: AccessLog, tmp_path: Path) -> None:
    for _ in range(5):
        log.append(entry())
    with contextlib.closing(sqlite3.connect(tmp_path / "log")) as file, file:
        file.execute("update row set body = replace(body, 'ada', 'bob') where n = 3")

    with pytest.raises(hash_chain.BrokenChain) as caught:
        hash_chain.verify_chain(log.rows())

    assert caught.value.n == 3


def test_concurrent_writers_append_to_one_chain(log: AccessLog, tmp_path: Path) -> None:
    with contextlib.closing(AccessLog(tmp_path / "log", lambda: T_S)) as other:
        threads = [
            threading.Thread(target=lambda one=one: [one.append(entry()) for _ in range(10)])
            for one in (log, log, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert hash_chain.verify_chain(log.rows()).n == 30
    assert log.hash_at(0) == hash_chain.ORIGIN
    assert log.hash_at(31) is None


def test_file_that_is_not_a_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"this is no database, and never was one" * 100)

    with pytest.raises(Unavailable, match="cannot use the access log"):
        AccessLog(tmp_path / "log", lambda: T_S)
    with pytest.raises(Unavailable):
        AccessLog(tmp_path / "none" / "log", lambda: T_S)
