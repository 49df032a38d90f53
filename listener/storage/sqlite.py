"""SQLite databases: one way to open them, to change them and to report their errors.

Every database here survives a power cut (write-ahead log, synced at each commit), overwrites what
is deleted, and is readable by its owner alone.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.storage.atomic import SECRET_MODE, chown_to_folder_owner

_BUSY_TIMEOUT_S: Final = 10
_PRAGMAS: Final = """
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma secure_delete = on;
    pragma trusted_schema = off;
"""


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


@contextlib.contextmanager
def translate_sqlite_errors(name: str, hint: str) -> Iterator[None]:
    """Turn an ``OSError`` or a ``sqlite3.Error`` into ``Unavailable``.

    Args:
        name: what cannot be used, for the message.
        hint: what to do about a damaged database.
    """
    try:
        yield
    except OSError as error:
        raise Unavailable(f"cannot use {name}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise Unavailable(f"cannot use {name}: {error}", hint) from error
