"""The access log of several processes: a hash chain for each shard of owners, and their root.

One chain would make all processes wait for one row, and every owner receive a line for each request
of all others. An owner's rows are in the chain of the shard that the owner's name selects; a row
that concerns a second owner is in that owner's chain as well. The *root* covers the heads of all
shards: its number is the number of all rows, and its hash that of the heads. The elected process
publishes it. So the archive cannot shorten or rewrite a chain without contradicting a root, and
each owner verifies their chain as before (decision 0078).
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from listener.archive.fleet.postgres import PgConnection, Postgres
from listener.rights.hash_chain import ORIGIN, LogHead
from listener.storage.access_log import LogEntry

SHARDS: Final = 256
ROOT_PAUSE_S: Final = 5.0
"""Time between two roots."""


def find_shard(owner: str) -> int:
    """Return the shard of an owner's rows: 0 to ``SHARDS`` - 1."""
    return hashlib.sha256(owner.encode()).digest()[0]


def root_hash(heads: list[tuple[int, int, str]]) -> str:
    """Return the hash of a root.

    Args:
        heads: shard, number of its last row and that row's hash, in order of the shards; a shard
            without rows is left out.
    """
    lines = "".join(f"{shard}:{n}:{head}\n" for shard, n, head in heads)
    return hashlib.sha256(f"earmark-log-root-1\n{lines}".encode("ascii")).hexdigest()


class ShardedLog:
    """Access log in the database; see ``LogChain``. Safe for several threads and processes.

    Args:
        database: the database.
        wall_s: wall clock, in seconds since 1970.
        is_elected: returns True in the process that makes the roots.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        Unavailable: from each method, if the database cannot be used.
    """

    def __init__(
        self,
        database: Postgres,
        wall_s: Callable[[], float],
        is_elected: Callable[[], bool] = lambda: True,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._wall_s = wall_s
        self._is_elected = is_elected
        self._monotonic_s = monotonic_s
        self._root_due_s = float("-inf")

    def append(self, entry: LogEntry) -> LogHead:
        """Append a row, durably; return the new head of the owner's chain."""
        reader = None if entry.is_hidden_from_other else entry.other
        shards = {find_shard(entry.owner)}
        if reader is not None:
            shards.add(find_shard(reader))
        heads: dict[int, LogHead] = {}
        with self._database.transaction() as connection:
            for shard in sorted(shards):  # in one order, so that two processes never wait in turn
                heads[shard] = self._append(connection, shard, entry, reader)
        return heads[find_shard(entry.owner)]

    def _append(
        self, connection: PgConnection, shard: int, entry: LogEntry, reader: str | None
    ) -> LogHead:
        connection.execute(
            "insert into log_head values (%s, 0, %s) on conflict do nothing", (shard, ORIGIN)
        )
        row = connection.execute(
            "select n, hash from log_head where shard = %s for update", (shard,)
        ).fetchone()
        n, before = (0, ORIGIN) if row is None else row
        text, body_sha256, head = entry.chain(LogHead(n=n, hash=before), self._wall_s())
        connection.execute(
            "insert into log_row values (%s, %s, %s, %s, %s, %s, %s)",
            (
                *(shard, head.n, entry.owner, reader),
                *(text, body_sha256, head.hash),
            ),
        )
        connection.execute(
            "update log_head set n = %s, hash = %s where shard = %s", (head.n, head.hash, shard)
        )
        return head

    def head(self, owner: str | None = None) -> LogHead:
        """Return the head of an owner's chain, or the last root; see ``LogChain``."""
        if owner is None:
            self._make_root()
            query = "select n, hash from log_root order by n desc limit 1"
            values: tuple[int, ...] = ()
        else:
            query = "select n, hash from log_head where shard = %s"
            values = (find_shard(owner),)
        with self._database.connection() as connection:
            row = connection.execute(query, values).fetchone()
        return LogHead(n=row[0], hash=row[1]) if row else LogHead(n=0, hash=ORIGIN)

    def hash_at(self, n: int, owner: str | None = None) -> str | None:
        """Return the hash of a row of an owner's chain, or of a root; see ``LogChain``."""
        if n == 0:
            return ORIGIN
        with self._database.connection() as connection:
            if owner is None:
                row = connection.execute("select hash from log_root where n = %s", (n,)).fetchone()
            else:
                row = connection.execute(
                    "select hash from log_row where shard = %s and n = %s",
                    (find_shard(owner), n),
                ).fetchone()
        return None if row is None else str(row[0])

    def page(self, owner: str, after: int, limit: int) -> list[dict[str, Any]]:
        """Return rows of an owner's chain; see ``LogChain``."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "select n, hash, case when owner = %(owner)s or other = %(owner)s then body end,"
                " body_sha256 from log_row where shard = %(shard)s and n > %(after)s"
                " order by n limit %(limit)s",
                {"owner": owner, "shard": find_shard(owner), "after": after, "limit": limit},
            ).fetchall()
        return [
            {"n": n, "hash": hash_}
            | ({"body_sha256": sha256} if body is None else {"body": msgspec.json.decode(body)})
            for n, hash_, body, sha256 in rows
        ]

    def _make_root(self) -> None:
        """Store a root of the present heads, in the elected process and after a pause."""
        now_s = self._monotonic_s()
        if now_s < self._root_due_s or not self._is_elected():
            return
        with self._database.connection() as connection:
            # One statement reads the heads of one moment: two roots of one number are equal.
            heads = connection.execute(
                "select shard, n, hash from log_head where n > 0 order by shard"
            ).fetchall()
            number = sum(n for _, n, _ in heads)
            if number:
                connection.execute(
                    "insert into log_root values (%s, %s) on conflict do nothing",
                    (number, root_hash([(shard, n, head) for shard, n, head in heads])),
                )
        self._root_due_s = now_s + ROOT_PAUSE_S
