"""SQLite databases: one way to open them, to change them and to report their errors.

Every database here survives a power cut (write-ahead log, synced at each commit), overwrites what
is deleted, and is readable by its owner alone.

The write-ahead log keeps copies of changed pages, and with them of rows that are deleted later.
SQLite truncates or deletes it, which frees its blocks as they are. ``overwrite_log`` fills it with
zeros before that.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from listener.errors import DiskFull, Unavailable, system_hint
from listener.storage.atomic import SECRET_MODE, chown_to_folder_owner, open_plain_file
from listener.storage.free_space import is_full, is_full_error, is_read_only

_BUSY_TIMEOUT_S: Final = 10
_PRAGMAS: Final = """
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma secure_delete = on;
    pragma temp_store = memory;
    pragma wal_autocheckpoint = 128;
    pragma trusted_schema = off;
"""
_LOG_TIMEOUT_S: Final = 1
_LOG_ATTEMPTS: Final = 3
_LOG_HEADER_BYTES: Final = 32
_ZEROS_BYTES: Final = 1 << 16
_FULL_CODES: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)
_DAMAGE_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def open_database(
    path: Path, schema: str, added: Iterable[tuple[str, str, str]] = ()
) -> sqlite3.Connection:
    """Open a database, and create it where there is none.

    The connection commits each statement by itself (see ``transaction``). Threads may share it if
    they hold one lock around its use.

    Args:
        path: the file; as root, it is created for the owner of its folder.
        schema: statements that create what is not there yet.
        added: columns that files of an earlier version lack: table, name and definition.

    Raises:
        OSError: the file cannot be created.
        sqlite3.Error: it is not a database, is damaged, or cannot be used.
    """
    # SQLite would create the file with the umask's permissions; its log has those of the file.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SECRET_MODE)
    try:
        chown_to_folder_owner(handle, path.parent)
    finally:
        os.close(handle)
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
    )
    try:
        connection.executescript(_PRAGMAS + schema)
        for table, name, definition in added:
            columns = {row[1] for row in connection.execute(f"pragma table_info({table})")}
            if name not in columns:
                connection.execute(f"alter table {table} add column {name} {definition}")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, durably, or roll all of it back if the block fails."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it by itself after some errors
            connection.execute("rollback")
        raise


def overwrite_log(connection: sqlite3.Connection, path: Path) -> bool:
    """Move the write-ahead log into the database, fill it with zeros, and truncate it.

    For a database that one process changes; the caller holds the lock of the connection. Others
    may read.

    Args:
        connection: not in a transaction.
        path: of the database.

    Returns:
        False if a reader or another writer prevented it: try again later.

    Raises:
        OSError: the log cannot be overwritten.
        sqlite3.Error: the database cannot be used.
    """
    log = path.with_name(f"{path.name}-wal")
    connection.execute(f"pragma busy_timeout = {_LOG_TIMEOUT_S * 1000}")
    try:
        return any(_overwrite_log(connection, log) for _ in range(_LOG_ATTEMPTS))
    finally:
        connection.execute(f"pragma busy_timeout = {_BUSY_TIMEOUT_S * 1000}")


def _overwrite_log(connection: sqlite3.Connection, log: Path) -> bool:
    before = _read_log_header(log)
    busy, frames, moved = connection.execute("pragma wal_checkpoint(restart)").fetchone()
    if busy or frames != moved:
        return False
    # Every page is in the database, and every reader reads it there. The lock keeps writers out;
    # one that wrote since the checkpoint has begun the log anew, with another header.
    try:
        connection.execute("begin immediate")
    except sqlite3.OperationalError:
        return False
    try:
        if _read_log_header(log) != before:
            return False
        _fill_with_zeros(log)
    finally:
        connection.execute("rollback")
    # If a reader prevents this, the log keeps its length, and contains zeros.
    connection.execute("pragma wal_checkpoint(truncate)")
    return True


def _read_log_header(log: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError), open_plain_file(log) as file:
        return file.read(_LOG_HEADER_BYTES)
    return b""


def _fill_with_zeros(log: Path) -> None:
    """Overwrite a log, its header first: after a power cut no part of it may be valid."""
    try:
        handle = os.open(log, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(handle, "wb", buffering=0) as file:
        left = os.fstat(handle).st_size
        for size in (_LOG_HEADER_BYTES, left):
            end = min(left, size)
            while (at := file.tell()) < end:
                file.write(bytes(min(end - at, _ZEROS_BYTES)))
            os.fsync(handle)


def close_database(connection: sqlite3.Connection, path: Path) -> None:
    """Overwrite a database's log, as far as possible, and close the connection.

    The last connection that closes deletes the log.

    Args:
        connection: not in a transaction; closed already or not.
        path: of the database.
    """
    try:
        with contextlib.suppress(sqlite3.Error, OSError):
            overwrite_log(connection, path)
    finally:
        connection.close()


@contextlib.contextmanager
def translate_sqlite_errors(name: str, hint: str, path: Path | None = None) -> Iterator[None]:
    """Turn an ``OSError`` or a ``sqlite3.Error`` into ``Unavailable``.

    Args:
        name: what cannot be used, for the message.
        hint: what to do about a damaged database; given only if it is damaged.
        path: a file or folder on its disk, to find the cause of an error that SQLite does not name.

    Raises:
        DiskFull: the disk is full.
        Unavailable: anything else.
    """
    try:
        yield
    except OSError as error:
        if is_full_error(error):
            raise DiskFull(path or name) from error
        raise Unavailable(f"cannot use {name}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        # An error of the module itself, such as a closed connection, has no code.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        folder = None if path is None else path.parent
        if code == sqlite3.SQLITE_FULL or (
            folder is not None and code in _FULL_CODES and is_full(folder)
        ):
            raise DiskFull(path or name) from error
        if folder is not None and (cause := _find_cause(folder, code)) is not None:
            raise Unavailable(f"cannot use {name}: {cause[0]}", cause[1]) from error
        raise Unavailable(
            f"cannot use {name}: {error}", hint if code in _DAMAGE_CODES else ""
        ) from error


def _find_cause(folder: Path, code: int) -> tuple[str, str] | None:
    """Return cause and hint of an error whose cause SQLite does not name, if it can be found."""
    if code not in _FULL_CODES:
        return None
    if is_read_only(folder):
        return "the file system is read-only", "mount it read-write; see dmesg"
    # Not the database itself: closing a descriptor of it would release SQLite's locks.
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error), system_hint(error.errno or 0)
    if code == sqlite3.SQLITE_IOERR:
        return "input/output error", system_hint(errno.EIO)
    return None
