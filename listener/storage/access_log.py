"""Access log on the disk: rows are appended durably and never changed.

SQLite, because a power cut must not tear a row and two processes may write: the archive server and
``earmark household incident``. ``rights.hash_chain`` defines a row.
"""

import contextlib
import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from listener.envelope.format import format_timestamp
from listener.rights.hash_chain import ORIGIN, LogBody, LogHead, LogRow, Outcome, row_hash
from listener.storage.reserve import Reserve, with_reserve
from listener.storage.sqlite import open_database, transaction, translate_sqlite_errors

ACCESS_LOG: Final = "access.sqlite"

_SCHEMA: Final = """
    create table if not exists row (
        n integer primary key,
        owner text not null,
        other text,
        body text not null,
        body_sha256 text not null,
        hash text not null
    ) strict;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Fields of a new row; number, time, salt and hash are added by ``AccessLog.append``."""

    owner: str
    op: str
    outcome: Outcome
    other: str | None = None
    okey: str | None = None
    count: int = 0
    request_sha256: str | None = None
    is_hidden_from_other: bool = False
    """True if ``other`` does not receive the body: the row reports ``other`` to the owner."""

    def chain(self, before: LogHead, wall_s: float) -> tuple[str, str, LogHead]:
        """Return the body of the row in canonical JSON, its SHA-256, and the new head.

        Args:
            before: head of the chain to which the row is added.
            wall_s: time of the row, in seconds since 1970.
        """
        body = LogBody(
            n=before.n + 1,
            t=format_timestamp(datetime.fromtimestamp(wall_s, UTC)),
            owner=self.owner,
            other=self.other,
            op=self.op,
            outcome=self.outcome,
            okey=self.okey,
            count=self.count,
            request_sha256=self.request_sha256,
            salt=secrets.token_hex(16),
        )
        text = body.canonical()
        body_sha256 = hashlib.sha256(text).hexdigest()
        head = LogHead(n=body.n, hash=row_hash(body.n, before.hash, body_sha256))
        return text.decode("ascii"), body_sha256, head


class AccessLog:
    """Access log of one installation. Safe for use by several threads and processes.

    Args:
        path: its file, created if missing.
        wall_s: wall clock, in seconds since 1970.

    Raises:
        Unavailable: from each method, when the file cannot be used.
    """

    def __init__(self, path: Path, wall_s: Callable[[], float]) -> None:
        self._path = path
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self.reserve: Final = Reserve(path.parent)
        self._rows = self.reserve.run(self._open)

    def _open(self) -> sqlite3.Connection:
        with self._available():
            return open_database(self._path, _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._rows.close()

    @with_reserve
    def append(self, entry: LogEntry) -> LogHead:
        """Append a row, durably; return the new head of the chain."""
        with self._available(), self._lock, transaction(self._rows):
            before = self._head()
            text, body_sha256, head = entry.chain(before, self._wall_s())
            reader = None if entry.is_hidden_from_other else entry.other
            self._rows.execute(
                "insert into row values (?, ?, ?, ?, ?, ?)",
                (head.n, entry.owner, reader, text, body_sha256, head.hash),
            )
        return head

    def head(self, owner: str | None = None) -> LogHead:
        """Return number and hash of the last row.

        Args:
            owner: not used: one chain contains the rows of all owners.
        """
        del owner
        with self._available(), self._lock:
            return self._head()

    def hash_at(self, n: int, owner: str | None = None) -> str | None:
        """Return the hash of row ``n``; ``ORIGIN`` for 0, None where there is no such row.

        Args:
            n: number of the row.
            owner: not used, as in ``head``.
        """
        del owner
        if n == 0:
            return ORIGIN
        with self._available(), self._lock:
            row = self._rows.execute("select hash from row where n = ?", (n,)).fetchone()
        return row[0] if row else None

    def page(self, owner: str | None, after: int, limit: int) -> list[dict[str, Any]]:
        """Return rows as JSON objects, with the bodies that concern ``owner``.

        Args:
            owner: the owner whose bodies are included, the others as hashes; None includes all.
            after: number of the row before the first.
            limit: upper limit of the number of rows.
        """
        with self._available(), self._lock:
            row = self._rows.execute(
                "select n, hash, case when ?1 is null or owner = ?1 or other = ?1 then body end,"
                " body_sha256 from row where n > ?2 order by n limit ?3",
                (owner, after, limit),
            ).fetchall()
        return [
            {"n": n, "hash": hash_}
            | ({"body_sha256": sha256} if body is None else {"body": msgspec.json.decode(body)})
            for n, hash_, body, sha256 in row
        ]

    def rows(self) -> Iterator[LogRow]:
        """Yield every row as stored, in order, to verify the chain."""
        after = 0
        while True:
            with self._available(), self._lock:
                row = self._rows.execute(
                    "select n, hash, body from row where n > ? order by n limit 500", (after,)
                ).fetchall()
            for n, hash_, body in row:
                yield LogRow(n, hashlib.sha256(body.encode()).hexdigest(), hash_)
                after = n
            if not row:
                return

    def _head(self) -> LogHead:
        row = self._rows.execute("select n, hash from row order by n desc limit 1").fetchone()
        return LogHead(n=row[0], hash=row[1]) if row else LogHead(n=0, hash=ORIGIN)

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "move it away and keep it; a new chain begins, which owners notice"
        with translate_sqlite_errors(f"the access log {self._path}", hint, self._path):
            yield
