"""The PostgreSQL database of a fleet's archives: connections, schema, locks and errors.

The extra ``earmark[fleet]`` installs psycopg. Each connection is used by one thread at a time; the
free ones are kept for the next. A connection that failed is closed, and with it all free ones: the
server has probably restarted. ``on_connect`` runs on each new connection before it is used, so that
a restored copy of the database is recognised before anything is read from it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.rows import TupleRow

from listener.errors import ConfigError, Unavailable

MOST_CONNECTIONS: Final = 8
"""Connections of one process; PostgreSQL accepts 100 by default."""
_WAIT_S: Final = 10.0
_OPTIONS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "earmark-archive",
    "options": "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout"
    "=60s",
}

Row = TupleRow
PgConnection = Connection[TupleRow]

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
    create table if not exists earmark_schema (version integer not null);
    -- A row without an owner is a tombstone: what is unique counts for both.
    create table if not exists clip (
        clip text collate "C" primary key,
        owner text collate "C",
        device text collate "C",
        dkey text collate "C",
        seq bigint,
        t text collate "C",
        ttl_s bigint,
        size_bytes bigint,
        sha256 text collate "C" not null,
        ciphertext_sha256 text collate "C" unique,
        received_s bigint,
        expires_s bigint,
        code text collate "C",
        instance text collate "C",
        start bigint,
        unique (dkey, seq)
    );
    create index if not exists clip_by_owner on clip (owner, t, clip) where owner is not null;
    create index if not exists clip_by_expiry on clip (expires_s, clip) where owner is not null;
    create index if not exists clip_by_retention on clip (owner, (expires_s - ttl_s))
        where owner is not null;
    create index if not exists clip_by_arrival on clip (instance, received_s)
        where owner is not null;
    -- Erased clips whose envelope is still to be erased.
    create table if not exists doomed (
        clip text collate "C" not null,
        owner text collate "C" not null,
        since timestamptz not null default clock_timestamp(),
        primary key (clip, owner)
    );
    create sequence if not exists export_number;
    create table if not exists imported_export (name text collate "C" primary key);
    create table if not exists erase_order (
        id bigint generated always as identity primary key,
        owner text collate "C" not null,
        device text collate "C",
        from_t text collate "C" not null,
        until_t text collate "C" not null,
        ordered_s double precision not null
    );
    create index if not exists erase_order_by_owner on erase_order (owner);
    create table if not exists erase_order_number (
        erase_order bigint not null references erase_order (id) on delete cascade,
        dkey text collate "C" not null,
        seq bigint not null,
        primary key (erase_order, dkey)
    );
    create table if not exists retention (
        owner text collate "C" primary key,
        days integer not null,
        n integer not null
    );
    create table if not exists key_rotation (
        id bigint generated always as identity primary key,
        device text collate "C" not null,
        said text not null,
        owner text collate "C" not null
    );
    create index if not exists key_rotation_by_owner on key_rotation (owner, device);
    create table if not exists consent (
        id bigint generated always as identity primary key,
        owner text collate "C" not null,
        device text collate "C" not null,
        okey text not null,
        dkey text not null,
        n bigint not null,
        said text not null,
        unique (owner, device)
    );
    create table if not exists consent_device (device text collate "C" primary key);
    -- MACs in place of names, which an erasure removes.
    create table if not exists sealer (
        code text collate "C" not null,
        owner_code text collate "C" not null,
        dkey text collate "C" not null,
        primary key (code, dkey)
    );
    create index if not exists sealer_by_owner on sealer (owner_code);
    create table if not exists change (id integer primary key check (id = 1), n bigint not null);
    insert into change values (1, 0) on conflict do nothing;
    create table if not exists clock (
        instance text collate "C" primary key,
        state text not null,
        start bigint not null,
        code text not null
    );
    create table if not exists clock_confirmation (
        instance text collate "C" primary key,
        reading text not null
    );
    create table if not exists log_head (
        shard integer primary key,
        n bigint not null,
        hash text not null
    );
    create table if not exists log_row (
        shard integer not null,
        n bigint not null,
        owner text collate "C" not null,
        other text collate "C",
        body text not null,
        body_sha256 text not null,
        hash text not null,
        primary key (shard, n)
    );
    create table if not exists log_root (n bigint primary key, hash text not null);
    create table if not exists used_ticket (
        tag bytea primary key,
        owner text collate "C" not null,
        until_ms bigint not null
    );
    create index if not exists used_ticket_by_expiry on used_ticket (until_ms);
    create table if not exists lease (
        name text collate "C" primary key,
        holder text collate "C" not null,
        until timestamptz not null
    );
    create table if not exists roster (
        version bigint primary key,
        content text not null,
        code text not null
    );
    create table if not exists roster_seen (
        instance text collate "C" primary key,
        version bigint not null,
        sha256 text not null
    );
"""
_SCHEMA_LOCK: Final = 0x6561_7201
SWEEP_LOCK: Final = 0x6561_7202
"""Advisory lock of expiry and repair."""


class Postgres:
    """One database and this process's connections to it. Safe for several threads.

    Args:
        url: ``postgresql://…``; libpq reads passwords and certificates as it always does.
        on_connect: called with each new connection before its first use.

    Raises:
        Unavailable: from each method, if the database cannot be used.
        ConfigError: from the constructor, if ``url`` is not a connection string.
    """

    def __init__(self, url: str, on_connect: Callable[[PgConnection], None] | None = None) -> None:
        self._url = url
        self._on_connect = on_connect
        self._free: list[PgConnection] = []
        self._lock = threading.Lock()
        self._places = threading.Semaphore(MOST_CONNECTIONS)
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise ConfigError(
                "archive.database is not a PostgreSQL URL", "write postgresql://user@host/database"
            ) from error
        with (
            translate_postgres_errors(),
            contextlib.closing(self._open()) as connection,
            connection.transaction(),
        ):
            _create_schema(connection)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    @contextlib.contextmanager
    def connection(self) -> Iterator[PgConnection]:
        """Return a connection for one thread; each statement commits by itself.

        Raises:
            Unavailable: the block raised an error of the database.
        """
        if not self._places.acquire(timeout=_WAIT_S):
            raise Unavailable("all connections to the database are in use", "try again")
        try:
            with translate_postgres_errors():
                connection = self._take()
                try:
                    yield connection
                finally:
                    self._put_back(connection)
        finally:
            self._places.release()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[PgConnection]:
        """Commit durably what the block does on the connection, or roll all of it back."""
        with self.connection() as connection, connection.transaction():
            yield connection

    @contextlib.contextmanager
    def pipelined_transaction(self) -> Iterator[PgConnection]:
        """As ``transaction``; statements wait for each other's results only where they are read."""
        with self.connection() as connection, connection.pipeline(), connection.transaction():
            yield connection

    @contextlib.contextmanager
    def try_lock(self, lock: int) -> Iterator[bool]:
        """Hold an advisory lock of the database, if it is free, while the block runs.

        Args:
            lock: one of the constants of this module.
        """
        with self.connection() as connection:
            row = connection.execute("select pg_try_advisory_lock(%s)", (lock,)).fetchone()
            is_held = bool(row and row[0])
            try:
                yield is_held
            finally:
                if is_held and not connection.broken:
                    connection.execute("select pg_advisory_unlock(%s)", (lock,))

    def _take(self) -> PgConnection:
        with self._lock:
            if self._free:
                return self._free.pop()
        connection = self._open()
        if self._on_connect is not None:
            try:
                self._on_connect(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _open(self) -> PgConnection:
        # What the URL sets is stronger.
        options: dict[str, Any] = _OPTIONS | psycopg.conninfo.conninfo_to_dict(self._url)
        connection = Connection.connect(**options, autocommit=True)
        try:
            connection.isolation_level = IsolationLevel.READ_COMMITTED
            # An acknowledged clip must survive a crash of the server.
            connection.execute(
                "select set_config('synchronous_commit', 'on', false)"
                " where current_setting('synchronous_commit') = 'off'"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _put_back(self, connection: PgConnection) -> None:
        if connection.closed or connection.broken:
            self.close()  # the others were opened to the same server
            connection.close()
            return
        with self._lock:
            self._free.append(connection)


@contextlib.contextmanager
def translate_postgres_errors() -> Iterator[None]:
    """Turn an error of psycopg into ``Unavailable``; it names no value of a row."""
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise Unavailable(
            "cannot use the database: its disk is full", "free some space on the database's disk"
        ) from error
    except psycopg.OperationalError as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unavailable(f"cannot use the database: {reason}") from error
    except psycopg.Error as error:
        raise Unavailable(
            f"cannot use the database: {error.diag.message_primary or type(error).__name__}"
        ) from error


def _create_schema(connection: PgConnection) -> None:
    connection.execute("select pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
    found = connection.execute("select to_regclass('earmark_schema')").fetchone()
    if found is not None and found[0] is not None:
        row = connection.execute("select version from earmark_schema").fetchone()
        if row is not None and row[0] != SCHEMA_VERSION:
            raise Unavailable(
                f"the database has the schema {row[0]}, and this version needs {SCHEMA_VERSION}",
                "install the version of Earmark that created it, or a later one",
            )
        if row is not None:
            return
    connection.execute(_SCHEMA)
    connection.execute("insert into earmark_schema values (%s)", (SCHEMA_VERSION,))


def bump_change(connection: PgConnection) -> None:
    """Count a change of what devices are sent; changes are counted in order of their commits."""
    connection.execute("update change set n = n + 1")


def lock_owner(connection: PgConnection, owner: str, *, is_exclusive: bool) -> None:
    """Lock an owner's clips until the transaction ends.

    Intake shares the lock; an erase order and the quarantine take it alone. So a clip is either
    stored before an order is written and found by the erasure, or compared with the order.
    """
    kind = "" if is_exclusive else "_shared"
    connection.execute(
        f"select pg_advisory_xact_lock{kind}(1701, hashtext(%s))",  # the constant is Earmark's own
        (owner,),
    )
