"""What owners have ordered, and what must outlive the archive's own folder: erasure and retention.

It lies beside the archive and not in it, so that an older copy of the archive, put back, meets the
tombstones of what was erased since. A tombstone names a clip and its bytes, and nobody.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from listener.envelope.format import Envelope, PublicHeader, format_timestamp
from listener.mqtt.retention import RetentionLimit
from listener.storage.sqlite import open_database, transaction, translate_sqlite_errors

ORDERS: Final = "orders.sqlite"
MOST_CARRIED: Final = 16
"""Changes of keys for one device: who was away for more needs a person at the device."""
# How far back "all" reaches for clips that are still under way. A device whose clock starts in 1970
# must not have its new clips taken for old ones.
_REACH: Final = timedelta(days=366)

_SCHEMA: Final = """
    create table if not exists tombstone (
        clip text primary key,
        sha256 text not null,
        ciphertext_sha256 text not null,
        dkey text not null,
        seq integer not null
    ) strict, without rowid;
    create index if not exists tombstone_by_ciphertext on tombstone (ciphertext_sha256);
    create index if not exists tombstone_by_seq on tombstone (dkey, seq);
    create table if not exists swept (
        owner text not null,
        device text,
        from_t text not null,
        until_t text not null
    ) strict;
    create index if not exists swept_by_owner on swept (owner);
    create table if not exists retention (
        owner text primary key,
        days integer not null,
        n integer not null default 1
    ) strict, without rowid;
    create table if not exists following (
        id integer primary key,
        device text not null,
        said text not null
    ) strict;
    create index if not exists following_by_device on following (device);
"""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A clip that is gone for good: by its id, its bytes, and its device's number."""

    clip: str
    sha256: str
    ciphertext_sha256: str
    dkey: str
    seq: int


def make_tombstone(envelope: Envelope, sha256: str) -> Tombstone:
    """Make the tombstone of an envelope.

    Args:
        envelope: verified, or at least parsed.
        sha256: of its bytes.
    """
    header = envelope.header
    return Tombstone(header.clip, sha256, envelope.seal.sha256, header.dkey, header.seq)


class OwnerState:
    """The orders of one archive. Safe for use by several threads.

    Args:
        path: the file, made when it is not there.

    Raises:
        Unavailable: from each method, when it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self.version = 0
        """Counts what changed in this process of that which devices are told."""
        with self._available():
            # A file of before choices were counted lacks the column.
            added = [("retention", "n", "integer not null default 1")]
            self._orders = open_database(path, _SCHEMA, added)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._orders.close()

    def add_tombstones(self, tombstones: Iterable[Tombstone]) -> None:
        """Put up tombstones, all or none; when this returns, they outlive a power cut."""
        with self._available(), transaction(self._orders):
            self._orders.executemany(
                "insert or ignore into tombstone values (?, ?, ?, ?, ?)", map(astuple, tombstones)
            )

    def find_tombstones(self, envelope: Envelope) -> list[Tombstone]:
        """Return the tombstones that share an id, a ciphertext or a number with an envelope."""
        header = envelope.header
        with self._available():
            found = self._orders.execute(
                "select * from tombstone"
                " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
                (header.clip, envelope.seal.sha256, header.dkey, header.seq),
            ).fetchall()
        return [Tombstone(*row) for row in found]

    def is_erased(self, clip: str) -> bool:
        """Say whether a clip was erased."""
        with self._available():
            found = self._orders.execute("select 1 from tombstone where clip = ?", (clip,))
            return found.fetchone() is not None

    def refuse_span(
        self, owner: str, span: tuple[str, str], device: str | None, now_s: float
    ) -> None:
        """Refuse from now on what an owner's devices recorded in a time that is over.

        Args:
            owner: who ordered it.
            span: the first moment and the one after the last, as envelopes spell them.
            device: of this one only.
            now_s: seconds since 1970; nothing after it is swept.
        """
        now = datetime.fromtimestamp(now_s, UTC)
        first = max(span[0], format_timestamp(now - _REACH))
        last = min(span[1], format_timestamp(now))
        with self._available():
            self._orders.execute(
                "insert into swept values (?, ?, ?, ?)", (owner, device, first, last)
            )

    def is_refused(self, header: PublicHeader) -> bool:
        """Say whether a clip that arrives now falls under an order of its owner."""
        with self._available():
            found = self._orders.execute(
                "select 1 from swept where owner = ?1 and (device is null or device = ?2)"
                " and from_t <= ?3 and ?3 < until_t limit 1",
                (header.owner, header.device, header.t),
            )
            return found.fetchone() is not None

    def set_retention(self, owner: str, days: int) -> None:
        """Keep an owner's clips for at most so many days."""
        with self._available():
            self._orders.execute(
                "insert into retention values (?, ?, 1)"
                " on conflict (owner) do update set days = excluded.days, n = n + 1",
                (owner, days),
            )
            self.version += 1

    def retention_days(self) -> dict[str, int]:
        """Return what owners have set."""
        with self._available():
            return dict(self._orders.execute("select owner, days from retention").fetchall())

    def retention_limits(self) -> list[RetentionLimit]:
        """Return the same, as devices are told."""
        with self._available():
            found = self._orders.execute("select owner, days, n from retention").fetchall()
        return [RetentionLimit(owner=owner, days=days, n=n) for owner, days, n in found]

    def set_pending_keys(self, messages: Mapping[str, str]) -> None:
        """Keep what is to be told to devices of an owner's next key; all or none.

        Args:
            messages: by device.
        """
        with self._available():
            with transaction(self._orders):
                for device, text in messages.items():
                    self._orders.execute(
                        "insert into following (device, said) values (?, ?)", (device, text)
                    )
                    self._orders.execute(
                        "delete from following where device = ?1 and id not in (select id"
                        " from following where device = ?1 order by id desc limit ?2)",
                        (device, MOST_CARRIED),
                    )
            self.version += 1

    def pending_keys(self) -> dict[str, list[str]]:
        """Return what is to be told, by device, in the order in which it was said."""
        with self._available():
            found = self._orders.execute("select device, said from following order by id")
            told: dict[str, list[str]] = {}
            for device, text in found:
                told.setdefault(device, []).append(text)
        return told

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "it says what was erased; restore the newest copy before the archive is started"
        with translate_sqlite_errors(str(self._path), hint), self._lock:
            yield
