"""Owners' settings and tombstones: erasures, retention limits, key rotations and consents.

The file is stored beside the archive's folder, not in it: an older copy of the folder, when
restored, meets the tombstones of the clips erased since. A tombstone identifies a clip and its
bytes, not an owner.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Final

from listener.archive.elapsed_time import AGREEMENT_S, ArchiveTime, Wait
from listener.archive.pending_messages import PendingMessage
from listener.archive.records import Undecided
from listener.envelope.format import Envelope, PublicHeader
from listener.errors import UsageError
from listener.mqtt.retention import RetentionLimit
from listener.storage.reserve import Reserve, with_reserve
from listener.storage.sqlite import (
    close_database,
    open_database,
    transaction,
    translate_sqlite_errors,
)

ORDERS: Final = "orders.sqlite"
MOST_CARRIED: Final = 16
"""Pending key rotations of one owner for one device; a device that misses more must be updated by
hand."""
ORDER_LAPSES_S: Final = 8 * 86_400
"""Running time after which an erase order lapses: a clip waits in a spool for a week at most by
default, and one day. The erased clips stay erased by their tombstones."""
TRANSIT_S: Final = 60.0
"""Time for which a publication may be on its way to the broker, where nothing measures it."""
MOST_DOUBT_S: Final = 10.0
"""Uncertainty of a clip's age within which its signed time decides."""
MOST_SPANS: Final = 500
"""Erase orders of one owner in force for spans of time."""

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
        wall_s real not null,
        start integer not null default 0
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
        said text not null,
        owner text not null default ''
    ) strict;
    create index if not exists following_by_device on following (device);
    create table if not exists consent (
        id integer primary key,
        owner text not null,
        device text not null,
        okey text not null,
        dkey text not null,
        n integer not null,
        said text not null,
        unique (owner, device)
    ) strict;
    create table if not exists consent_device (
        device text primary key
    ) strict, without rowid;
    create table if not exists sealer (
        code text primary key
    ) strict, without rowid;
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


@dataclass(frozen=True, slots=True)
class PendingConsent:
    """An owner's newest consent for a device, which the archive publishes unverified.

    Attributes:
        owner: the owner who sent it, with proof.
        device: name of the device.
        okey: fingerprint of the owner's key that proves it to the device.
        dkey: fingerprint of the device's key.
        n: number of the consent.
        text: JSON of the ``Consent``.
    """

    owner: str
    device: str
    okey: str
    dkey: str
    n: int
    text: str


@dataclass(frozen=True, slots=True)
class EraseOrder:
    """An order to erase a span in which an arriving clip was made.

    Attributes:
        ordered: time of the order.
        seq: highest number of the clip's device key that was accepted before it; 0 without any.
    """

    ordered: ArchiveTime
    seq: int


def is_covered(
    orders: Iterable[EraseOrder], header: PublicHeader, wait: Wait, now: ArchiveTime | None
) -> bool:
    """Return True if a clip was made before one of the orders; see ``OwnerState.is_refused``.

    Args:
        orders: orders of the clip's owner for its device and its time.
        header: of the verified envelope.
        wait: time since the clip was sealed.
        now: time of arrival; None compares numbers only.

    Raises:
        Undecided: it may have been made before an order.
    """
    taken_s = datetime.fromisoformat(header.t).timestamp()
    is_decided = True
    for order in orders:
        if now is not None and now.lived_s - order.ordered.lived_s > ORDER_LAPSES_S:
            continue
        if header.seq <= order.seq:
            return True
        if now is not None and (may_be := _was_made_before(order.ordered, taken_s, wait, now)):
            if may_be is _Before.CERTAIN and now.is_decided_since(order.ordered):
                return True
            is_decided = False
    if not is_decided:
        raise Undecided("the time since an erase order is not decided yet")
    return False


class _Before(IntEnum):
    """Whether a clip was made before an order, by its signed time and the time since then."""

    NO = 0
    POSSIBLE = 1
    CERTAIN = 2


def _was_made_before(ordered: ArchiveTime, taken_s: float, wait: Wait, now: ArchiveTime) -> _Before:
    """Compare a clip's times with the time of an order."""
    ordered_s = max(ordered.accepted_s, ordered.wall_s)
    since_s = now.since_s(ordered)
    if taken_s <= ordered_s + AGREEMENT_S and wait.waited_s > since_s:
        return _Before.CERTAIN
    if not wait.doubt_s or taken_s > ordered_s + min(wait.doubt_s, MOST_DOUBT_S):
        return _Before.NO
    # It was signed before the order, and may have waited where nothing measures it: in a
    # connection. When its speaker sends it again, the time waited includes that.
    if wait.waited_s + wait.doubt_s > since_s:
        return _Before.CERTAIN if wait.doubt_s <= MOST_DOUBT_S else _Before.POSSIBLE
    return _Before.POSSIBLE if since_s < TRANSIT_S else _Before.NO


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
        self.reserve: Final = Reserve(path.parent)
        self._orders = self.reserve.run(self._open)

    def _open(self) -> sqlite3.Connection:
        with self._available():
            # Columns that files of earlier versions lack.
            added = [
                ("retention", "n", "integer not null default 1"),
                ("following", "owner", "text not null default ''"),
                ("erase_order", "start", "integer not null default 0"),
            ]
            orders = open_database(self._path, _SCHEMA, added)
            try:
                orders.execute(
                    "update following set owner = coalesce(json_extract(said, '$.owner'), '')"
                    " where owner = '' and json_valid(said)"
                )
                self._sealers = {code for (code,) in orders.execute("select code from sealer")}
            except BaseException:
                orders.close()
                raise
            return orders

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            close_database(self._orders, self._path)

    @with_reserve
    def add_tombstones(self, tombstones: Sequence[Tombstone]) -> None:
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

    def highest_seq(self, dkey: str) -> int:
        """Return the highest sequence number of the erased clips of a key; 0 without any."""
        with self._available():
            rows = self._orders.execute("select max(seq) from tombstone where dkey = ?", (dkey,))
            return rows.fetchone()[0] or 0

    def is_erased(self, clip: str) -> bool:
        """Return True if a clip was erased."""
        with self._available():
            rows = self._orders.execute("select 1 from tombstone where clip = ?", (clip,))
            return rows.fetchone() is not None

    @with_reserve
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

        Raises:
            UsageError: the owner has given too many orders for separate spans.
        """
        with self._available(), transaction(self._orders):
            known = self._orders.execute("select dkey, max(seq) from tombstone group by dkey")
            highest = dict(numbers)
            for dkey, seq in known.fetchall():
                highest[dkey] = max(seq, highest.get(dkey, 0))
            # The running time begins again where its record was lost; the orders are in force.
            self._orders.execute(
                "update erase_order set lived_s = ?1, start = -1 where lived_s > ?1", (now.lived_s,)
            )
            # Orders that have lapsed, and orders that the new one contains.
            self._orders.execute(
                "delete from erase_order where lived_s < ?1"
                " or (owner = ?2 and (?3 is null or device is ?3)"
                " and from_t >= ?4 and until_t <= ?5)",
                (now.lived_s - ORDER_LAPSES_S, owner, device, *span),
            )
            self._orders.execute(
                "delete from erase_order_number"
                " where erase_order not in (select id from erase_order)"
            )
            (number,) = self._orders.execute(
                "select count(*) from erase_order where owner = ?", (owner,)
            ).fetchone()
            if number >= MOST_SPANS:
                raise UsageError(
                    "there are too many orders to erase separate spans of time",
                    "erase one longer span, or all clips",
                )
            order = self._orders.execute(
                "insert into erase_order (owner, device, from_t, until_t, accepted_s, lived_s,"
                " wall_s, start) values (?, ?, ?, ?, ?, ?, ?, ?)",
                (owner, device, *span, now.accepted_s, now.lived_s, now.wall_s, now.start),
            ).lastrowid
            self._orders.executemany(
                "insert into erase_order_number values (?, ?, ?)",
                [(order, dkey, seq) for dkey, seq in highest.items()],
            )

    def is_refused(
        self,
        header: PublicHeader,
        waited_s: float = 0.0,
        now: ArchiveTime | None = None,
        doubt_s: float = 0.0,
    ) -> bool:
        """Return True if an arriving clip was made before an erase order of its owner.

        Its number shows it; or, of a clip that was not accepted before the order, both its signed
        time and the time since it was sealed. A wrong wall clock alone shows nothing. The running
        time is compared only with a time since the order that is decided: otherwise a clip of a
        speaker whose clock is behind would be refused, although it was made after the order.

        Args:
            header: of the verified envelope.
            waited_s: time since the clip was sealed, at least.
            now: time of arrival; None compares numbers only, as if no order had lapsed.
            doubt_s: longest time that ``waited_s`` may lack; 0 if nothing is known of it.

        Raises:
            Undecided: it may have been made before an order.
        """
        with self._available():
            orders = self._orders.execute(
                "select accepted_s, lived_s, wall_s, start, coalesce(seq, 0) from erase_order"
                " left join erase_order_number on erase_order = id and dkey = ?4"
                " where owner = ?1 and (device is null or device = ?2)"
                " and from_t <= ?3 and ?3 < until_t",
                (header.owner, header.device, header.t, header.dkey),
            ).fetchall()
        return is_covered(
            [
                EraseOrder(ArchiveTime(accepted_s, lived_s, wall_s, start), seq)
                for accepted_s, lived_s, wall_s, start, seq in orders
            ],
            *(header, Wait(waited_s, doubt_s), now),
        )

    @with_reserve
    def shift_orders(self, by_s: int) -> None:
        """Add seconds to the times of the erase orders, when the archive corrects its clock."""
        with self._available():
            self._orders.execute(
                "update erase_order set accepted_s = accepted_s + ?1, wall_s = wall_s + ?1", (by_s,)
            )

    @with_reserve
    def set_retention(self, owner: str, days: int) -> None:
        """Set an owner's retention limit in days."""
        with self._available():
            self._orders.execute(
                "insert into retention values (?1, ?2, ?3) on conflict (owner) do update"
                " set days = excluded.days, n = n + 1 where days != excluded.days",
                (owner, days, self._skipped() + 1),
            )
            if self._orders.execute("select changes()").fetchone() != (0,):
                self.version += 1

    def skip_retention_numbers(self, step: int) -> None:
        """Raise the numbers of retention limits, of those to come, too.

        A device ignores a limit whose number is not above the last one that it accepted.

        Args:
            step: more than the number of changes that this database may lack.
        """
        with self._available(), transaction(self._orders):
            self._orders.execute("update retention set n = n + ?", (step,))
            self._orders.execute(f"pragma user_version = {self._skipped() + step:d}")
            self.version += 1

    def _skipped(self) -> int:
        """Return the number of retention limits that were skipped in total."""
        skipped: int = self._orders.execute("pragma user_version").fetchone()[0]
        return skipped

    def retention_days(self) -> dict[str, int]:
        """Return the retention limits in days, by owner."""
        with self._available():
            return dict(self._orders.execute("select owner, days from retention").fetchall())

    def retention_of(self, owner: str) -> int | None:
        """Return an owner's retention limit in days; None without one."""
        return self.retention_days().get(owner)

    def retention_limits(self) -> list[RetentionLimit]:
        """Return the retention limits as published to devices."""
        with self._available():
            rows = self._orders.execute("select owner, days, n from retention").fetchall()
        return [RetentionLimit(owner=owner, days=days, n=n) for owner, days, n in rows]

    @with_reserve
    def add_sealer(self, code: str) -> None:
        """Record that a device has sealed a clip for an owner.

        The record outlives the clip: also after an erasure the owner's next key has precedence.

        Args:
            code: ``RowMac.compute_sealer``.
        """
        with self._available():
            if code not in self._sealers:
                self._orders.execute("insert or ignore into sealer values (?)", (code,))
                self._sealers.add(code)
                self.version += 1

    def is_sealer(self, code: str) -> bool:
        """Return True if ``add_sealer`` recorded this."""
        with self._lock:
            return code in self._sealers

    @with_reserve
    def set_pending_keys(self, owner: str, messages: Mapping[str, str]) -> None:
        """Store an owner's key rotations to be published to devices, all or none.

        Each owner has ``MOST_CARRIED`` rotations for each device; none displaces another owner's.

        Args:
            owner: the owner whose key changes.
            messages: JSON of a ``KeyRotation``, by device.
        """
        with self._available():
            with transaction(self._orders):
                for device, text in messages.items():
                    self._orders.execute(
                        "insert into following (device, said, owner) values (?, ?, ?)",
                        (device, text, owner),
                    )
                    self._orders.execute(
                        "delete from following where device = ?1 and owner = ?3 and id not in"
                        " (select id from following where device = ?1 and owner = ?3"
                        " order by id desc limit ?2)",
                        (device, MOST_CARRIED, owner),
                    )
            self.version += 1

    def pending_keys(self) -> dict[str, list[PendingMessage]]:
        """Return the stored key rotations by device, oldest first."""
        with self._available():
            rows = self._orders.execute("select device, owner, said from following order by id")
            messages: dict[str, list[PendingMessage]] = {}
            for device, owner, text in rows:
                messages.setdefault(device, []).append(PendingMessage(owner, text))
        return messages

    def devices_with_pending_key(self, owner: str, recipient: str) -> list[str]:
        """Return the devices to which a rotation to an owner's key is published, by name."""
        with self._available():
            rows = self._orders.execute(
                "select distinct device from following where owner = ? and json_valid(said)"
                " and json_extract(said, '$.new') = ? order by device",
                (owner, recipient),
            ).fetchall()
        return [device for (device,) in rows]

    @with_reserve
    def set_consents(self, consents: Sequence[PendingConsent]) -> None:
        """Store consents to be published to devices, all or none.

        Only the newest of each owner for each device is kept. The caller bounds their number: it
        accepts active owners and devices of the roster alone.

        Raises:
            UsageError: a consent is not newer than the stored one.
        """
        with self._available():
            with transaction(self._orders):
                for consent in consents:
                    self._replace_consent(consent)
            self.version += 1

    def _replace_consent(self, consent: PendingConsent) -> None:
        place = consent.owner, consent.device
        newer = self._orders.execute(
            "select 1 from consent where owner = ? and device = ? and n >= ?", (*place, consent.n)
        )
        if newer.fetchone() is not None:
            raise UsageError(
                f"the consent for {consent.device} is not newer than the stored one",
                "give it a higher number: earmark clips voice does",
            )
        # A new row and not an update: its id is the order of the owners' last changes.
        self._orders.execute("delete from consent where owner = ? and device = ?", place)
        self._orders.execute(
            "insert into consent (owner, device, okey, dkey, n, said) values (?, ?, ?, ?, ?, ?)",
            (*place, consent.okey, consent.dkey, consent.n, consent.text),
        )
        self._orders.execute("insert or ignore into consent_device values (?)", (consent.device,))

    def consents(self) -> list[PendingConsent]:
        """Return the stored consents; the owner whose last change is oldest is first."""
        with self._available():
            rows = self._orders.execute(
                "select owner, device, okey, dkey, n, said from consent order by id"
            ).fetchall()
        return [PendingConsent(*row) for row in rows]

    def consent_devices(self) -> list[str]:
        """Return the devices to which a consent was ever to be published, by name.

        A device whose consents were removed is among them: the broker still retains them, until
        another message takes their place.
        """
        with self._available():
            rows = self._orders.execute("select device from consent_device order by device")
            return [device for (device,) in rows.fetchall()]

    @with_reserve
    def remove_consents(self, is_void: Callable[[PendingConsent], bool]) -> int:
        """Remove the consents for which ``is_void`` returns True; return their number."""
        with self._available():
            void = [(one.owner, one.device) for one in self.consents() if is_void(one)]
            if void:
                with transaction(self._orders):
                    self._orders.executemany(
                        "delete from consent where owner = ? and device = ?", void
                    )
                self.version += 1
            return len(void)

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "it lists the erased clips; restore its newest copy before starting the archive"
        with translate_sqlite_errors(str(self._path), hint, self._path), self._lock:
            yield
