"""Owners' settings and tombstones: erasures, retention limits and pending key rotations.

The file is stored beside the archive's folder, not in it: an older copy of the folder, when
restored, meets the tombstones of the clips erased since. A tombstone identifies a clip and its
bytes, not an owner.
"""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from listener.archive.elapsed_time import AGREEMENT_S, ArchiveTime
from listener.envelope.format import Envelope, PublicHeader
from listener.mqtt.retention import RetentionLimit
from listener.storage.sqlite import open_database, transaction, translate_sqlite_errors

ORDERS: Final = "orders.sqlite"
MOST_CARRIED: Final = 16
"""Pending key rotations per device; a device that misses more must be updated by hand."""
ORDER_LAPSES_S: Final = 8 * 86_400
"""Running time after which an erase order lapses: a clip waits in a spool for a week at most by
default, and one day. The erased clips stay erased by their tombstones."""
MOST_ORDERS: Final = 64
"""Erase orders in force per owner; the oldest lapses before its time."""

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
    drop table if exists swept; -- orders of earlier versions, by time alone; they never lapsed
    create table if not exists erase_order (
        id integer primary key,
        owner text not null,
        device text,
        from_t text not null,
        until_t text not null,
        accepted_s real not null,
        lived_s real not null,
        wall_s real not null
    ) strict;
    create index if not exists erase_order_by_owner on erase_order (owner);
    create table if not exists erase_order_number (
        erase_order integer not null,
        dkey text not null,
        seq integer not null,
        primary key (erase_order, dkey)
    ) strict, without rowid;
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
    """An erased clip: its id, its digests, and its device's key and sequence number."""

    clip: str
    sha256: str
    ciphertext_sha256: str
    dkey: str
    seq: int


def make_tombstone(envelope: Envelope, sha256: str) -> Tombstone:
    """Make the tombstone of an envelope.

    Args:
        envelope: the parsed envelope.
        sha256: hexadecimal digest of its bytes.
    """
    header = envelope.header
    return Tombstone(header.clip, sha256, envelope.seal.sha256, header.dkey, header.seq)


class OwnerState:
    """Tombstones and owners' settings of one archive. Safe for several threads.

    Args:
        path: the database file, created if missing.

    Raises:
        Unavailable: from each method, if it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self.version = 0
        """Counts the changes, in this process, of what devices are sent."""
        with self._available():
            # Files of versions before the counter lack the column.
            added = [("retention", "n", "integer not null default 1")]
            self._orders = open_database(path, _SCHEMA, added)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._orders.close()

    def add_tombstones(self, tombstones: Iterable[Tombstone]) -> None:
        """Add tombstones durably, all or none."""
        with self._available(), transaction(self._orders):
            self._orders.executemany(
                "insert or ignore into tombstone values (?, ?, ?, ?, ?)", map(astuple, tombstones)
            )

    def find_tombstones(self, envelope: Envelope) -> list[Tombstone]:
        """Return the tombstones with an envelope's id, ciphertext or sequence number."""
        header = envelope.header
        with self._available():
            rows = self._orders.execute(
                "select * from tombstone"
                " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
                (header.clip, envelope.seal.sha256, header.dkey, header.seq),
            ).fetchall()
        return [Tombstone(*row) for row in rows]

    def is_erased(self, clip: str) -> bool:
        """Return True if a clip was erased."""
        with self._available():
            rows = self._orders.execute("select 1 from tombstone where clip = ?", (clip,))
            return rows.fetchone() is not None

    def refuse_span(
        self,
        owner: str,
        span: tuple[str, str],
        device: str | None,
        numbers: Mapping[str, int],
        now: ArchiveTime,
    ) -> None:
        """Refuse, until the order lapses, an owner's clips of a span that were made before now.

        Args:
            owner: the owner who ordered it.
            span: first time (inclusive) and last time (exclusive), as in envelope headers.
            device: only this device's clips, if given.
            numbers: highest accepted sequence number by device key.
            now: time of the order.
        """
        with self._available(), transaction(self._orders):
            known = self._orders.execute("select dkey, max(seq) from tombstone group by dkey")
            highest = dict(numbers)
            for dkey, seq in known.fetchall():
                highest[dkey] = max(seq, highest.get(dkey, 0))
            order = self._orders.execute(
                "insert into erase_order (owner, device, from_t, until_t, accepted_s, lived_s,"
                " wall_s) values (?, ?, ?, ?, ?, ?, ?)",
                (owner, device, *span, now.accepted_s, now.lived_s, now.wall_s),
            ).lastrowid
            self._orders.executemany(
                "insert into erase_order_number values (?, ?, ?)",
                [(order, dkey, seq) for dkey, seq in highest.items()],
            )
            self._orders.execute(
                "delete from erase_order where lived_s not between ?3 and ?4 or (owner = ?1 and id"
                " not in (select id from erase_order where owner = ?1 order by id desc limit ?2))",
                (owner, MOST_ORDERS, now.lived_s - ORDER_LAPSES_S, now.lived_s),
            )
            self._orders.execute(
                "delete from erase_order_number"
                " where erase_order not in (select id from erase_order)"
            )

    def is_refused(
        self, header: PublicHeader, waited_s: float = 0.0, now: ArchiveTime | None = None
    ) -> bool:
        """Return True if an arriving clip was made before an erase order of its owner.

        Its number shows it; or, of a clip that was not accepted before the order, both its signed
        time and its speaker's running time. A wrong wall clock alone shows nothing.

        Args:
            header: of the verified envelope.
            waited_s: running time of the speaker since the clip was sealed.
            now: time of arrival; None compares numbers only, as if no order had lapsed.
        """
        with self._available():
            orders = self._orders.execute(
                "select accepted_s, lived_s, wall_s, coalesce(seq, 0) from erase_order"
                " left join erase_order_number on erase_order = id and dkey = ?4"
                " where owner = ?1 and (device is null or device = ?2)"
                " and from_t <= ?3 and ?3 < until_t",
                (header.owner, header.device, header.t, header.dkey),
            ).fetchall()
        taken_s = datetime.fromisoformat(header.t).timestamp()
        for accepted_s, lived_s, wall_s, seq in orders:
            order = ArchiveTime(accepted_s, lived_s, wall_s)
            if now is not None and not 0 <= now.lived_s - lived_s <= ORDER_LAPSES_S:
                continue
            if header.seq <= seq:
                return True
            latest_s = max(accepted_s, wall_s) + AGREEMENT_S
            if now is not None and taken_s <= latest_s and waited_s > now.since_s(order):
                return True
        return False

    def set_retention(self, owner: str, days: int) -> None:
        """Set an owner's retention limit in days."""
        with self._available():
            self._orders.execute(
                "insert into retention values (?, ?, 1)"
                " on conflict (owner) do update set days = excluded.days, n = n + 1",
                (owner, days),
            )
            self.version += 1

    def retention_days(self) -> dict[str, int]:
        """Return the retention limits in days, by owner."""
        with self._available():
            return dict(self._orders.execute("select owner, days from retention").fetchall())

    def retention_limits(self) -> list[RetentionLimit]:
        """Return the retention limits as published to devices."""
        with self._available():
            rows = self._orders.execute("select owner, days, n from retention").fetchall()
        return [RetentionLimit(owner=owner, days=days, n=n) for owner, days, n in rows]

    def set_pending_keys(self, messages: Mapping[str, str]) -> None:
        """Store key rotations to be published to devices, all or none.

        Args:
            messages: JSON of a ``KeyRotation``, by device.
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
        """Return the stored key rotations by device, oldest first."""
        with self._available():
            rows = self._orders.execute("select device, said from following order by id")
            messages: dict[str, list[str]] = {}
            for device, text in rows:
                messages.setdefault(device, []).append(text)
        return messages

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "it lists the erased clips; restore its newest copy before starting the archive"
        with translate_sqlite_errors(str(self._path), hint), self._lock:
            yield
