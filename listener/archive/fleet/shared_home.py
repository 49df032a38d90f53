"""The roster of a household whose archives have homes of their own, as rows with a version.

Each home has the roster file that the other commands read and change. The database has every
version of the fleet's. A process compares both each second: a file that was changed becomes the
next version, and a later version replaces the file. An owner's new key is the next version before
it is in the file, and only if no other process was first.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.archive.fleet.postgres import Postgres
from listener.archive.records import RowMac
from listener.errors import Unavailable
from listener.owner import roster as rosters
from listener.owner.roster import Roster
from listener.storage.atomic import FileVersion, read_version
from listener.storage.home import Home

SYNC_S: Final = 1.0
_ATTEMPTS: Final = 5

_log = logging.getLogger(__name__)


_Latest = tuple[int, str, str, int | None] | None


class _Outrun(Exception):
    """Another process made the next version first."""


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the roster: its number, and SHA-256 and bytes of its file."""

    number: int
    sha256: str
    content: bytes = b""


class SharedHome(Home):
    """A home whose roster is the fleet's. Safe for use by several threads and processes.

    Args:
        path: the directory.
        database: the database.
        instance: name of this archive process.
        row_mac: MAC of the versions; the processes have one key.
        monotonic_s: monotonic clock, in seconds.

    Raises:
        Unavailable: from ``change_roster`` and ``sync``, also if the database cannot be used.
    """

    def __init__(
        self,
        path: Path,
        database: Postgres,
        instance: str,
        row_mac: RowMac,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(path)
        self._database = database
        self._instance = instance
        self._row_mac = row_mac
        self._monotonic_s = monotonic_s
        self._due_s = float("-inf")
        self._synced: tuple[FileVersion | None, _Latest, int] | None = None
        self._sync_lock = threading.Lock()

    def sync(self) -> None:
        """Bring file and database to the same version, at most once in ``SYNC_S``."""
        now_s = self._monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + SYNC_S
            self._sync()

    def change_roster(self, edit: Callable[[Roster], Roster]) -> Roster:
        """Replace the roster by what ``edit`` returns, in the database and in the file.

        Args:
            edit: may be called again with a later roster; if it raises, the roster is unchanged.

        Raises:
            ConfigError: it is damaged.
        """
        for _ in range(_ATTEMPTS):
            number = self._sync()

            def edit_next(before: Roster, last: int = number) -> Roster:
                after = edit(before)
                if after != before and not self._publish(after, last):
                    raise _Outrun
                return after

            try:
                return super().change_roster(edit_next)
            except _Outrun:
                continue
        raise Unavailable("several processes change the roster at once", "try again")

    def _sync(self) -> int:
        """Bring file and database to the same version; return its number."""
        with self._sync_lock:
            file = read_version(self._roster, follow_links=True)
            # Neither has changed: thousands of devices need not be read each second.
            latest = self._read_latest()
            if self._synced is not None and self._synced[:2] == (file, latest):
                return self._synced[2]
            for _ in range(_ATTEMPTS):
                number = self._sync_once()
                if number is not None:
                    self._synced = file, latest, number
                    return number
        raise Unavailable("several processes change the roster at once", "try again")

    def _sync_once(self) -> int | None:
        """Return the number of the version of file and database; None if another was first."""
        roster = self.roster()
        mine = _digest(roster)
        latest, seen = self._read()
        if latest is None:
            return 1 if self._publish(roster, 0) else None
        if mine != latest.sha256:
            if seen is not None and seen.number == latest.number:  # the file alone was changed
                return latest.number + 1 if self._publish(roster, latest.number) else None
            if seen is not None and mine != seen.sha256:
                _log.error(
                    "the roster of this home and that of the fleet were changed at once; the"
                    " fleet's replaces it: repeat the last change of this home"
                )
            newer = rosters.parse(latest.content, "the fleet's roster")
            super().change_roster(lambda _: newer)
        if seen is None or seen.number != latest.number:
            self._note(latest.number, latest.sha256)
        return latest.number

    def _read_latest(self) -> "_Latest":
        """Return number, MAC and a digest of the latest version, and the number last seen."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select roster.version, code, md5(content),"
                " (select seen.version from roster_seen as seen where instance = %s)"
                " from roster order by roster.version desc limit 1",
                (self._instance,),
            ).fetchone()
        return None if row is None else (row[0], row[1], row[2], row[3])

    def _read(self) -> tuple[_Version | None, _Version | None]:
        """Return the latest version, and the last one that this process has seen."""
        with self._database.connection() as connection:
            row = connection.execute(
                "select version, content, code from roster order by version desc limit 1"
            ).fetchone()
            seen = connection.execute(
                "select version, sha256 from roster_seen where instance = %s", (self._instance,)
            ).fetchone()
        if row is None:
            return None, None
        number, content = int(row[0]), str(row[1]).encode()
        if self._compute(number, content) != row[2]:
            raise Unavailable(
                "the fleet's roster was not written by an archive with this home's key",
                "restore the database, or delete the latest rows of its table roster",
            )
        return (
            _Version(number, hashlib.sha256(content).hexdigest(), content),
            None if seen is None else _Version(int(seen[0]), str(seen[1])),
        )

    def _publish(self, roster: Roster, last: int) -> bool:
        """Store a roster as the version after ``last``; return False if there is one already."""
        content = rosters.render(roster)
        with self._database.transaction() as connection:
            added = connection.execute(
                "insert into roster values (%s, %s, %s) on conflict do nothing",
                (last + 1, content.decode(), self._compute(last + 1, content)),
            )
        if not added.rowcount:
            return False
        self._note(last + 1, hashlib.sha256(content).hexdigest())
        return True

    def _compute(self, number: int, content: bytes) -> str:
        return self._row_mac.compute_bytes(b"roster %d " % number + content)

    def _note(self, number: int, sha256: str) -> None:
        with self._database.connection() as connection:
            connection.execute(
                "insert into roster_seen values (%s, %s, %s) on conflict (instance) do update"
                " set version = excluded.version, sha256 = excluded.sha256",
                (self._instance, number, sha256),
            )


def _digest(roster: Roster) -> str:
    return hashlib.sha256(rosters.render(roster)).hexdigest()
