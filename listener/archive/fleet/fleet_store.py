"""The clip store of several archive processes: rows in PostgreSQL, envelopes in an object store.

The object is durable before its row, and the row before the acknowledgement. Id, ciphertext and
sequence number of a clip are unique over stored and erased clips, by constraints of one table; the
erase orders are compared in the transaction that inserts the row. So it does not matter which
process a clip reaches, and how often. An erasure writes rows first and deletes objects after; what
a crash leaves in between is completed by any process (``doomed``).

Erase orders are timed by the clock of the database server, which all processes share.
"""

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import psycopg

from listener.archive.blobs import BlobConflict
from listener.archive.elapsed_time import NO_WAIT, ArchiveTime, Shift, Wait
from listener.archive.fleet import object_repair
from listener.archive.fleet.clock_rows import ClockRows
from listener.archive.fleet.fleet_owner_state import FleetOwnerState
from listener.archive.fleet.object_blobs import ObjectBlobs, StoredObject
from listener.archive.fleet.postgres import (
    SWEEP_LOCK,
    PgConnection,
    Postgres,
    bump_change,
    lock_owner,
)
from listener.archive.fleet.tombstones import (
    MOST_ROWS,
    OrderCopy,
    TombstoneExport,
    erase_rows,
    insert_order,
)
from listener.archive.index import make_record
from listener.archive.owner_state import (
    MOST_SPANS,
    ORDER_LAPSES_S,
    EraseOrder,
    Tombstone,
    is_covered,
    make_tombstone,
)
from listener.archive.quarantine import ErasedFile, QuarantinedFile, describe_file
from listener.archive.records import ClipRecord, Erased, Replayed, RowMac
from listener.envelope.format import Envelope, PublicHeader
from listener.errors import Unavailable, UsageError
from listener.quantities import quantity
from listener.storage.locations import QUARANTINE

if TYPE_CHECKING:
    from listener.archive.archive_clock import TimeStore

GRACE_S: Final = 3600
"""Age below which an object without a row may be one that another process is storing."""
_DOOMED_GRACE_S: Final = 60
"""Age below which an erased row's object is left to the process that erases it."""
_DAY_S: Final = 86_400

_SELECT: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code from clip"
)
_SELECT_DUE: Final = (
    "select clip.clip, clip.owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code,"
    " sha256, ciphertext_sha256, dkey"
)
_EXPIRED: Final = f"""
    {_SELECT_DUE} from clip
    where owner is not null and expires_s <= %(now_s)s and (expires_s, clip) > (%(t)s, %(clip)s)
    order by expires_s, clip limit %(limit)s
"""
_OVER_RETENTION: Final = f"""
    {_SELECT_DUE} from retention join clip on clip.owner = retention.owner
        and clip.expires_s - clip.ttl_s <= %(now_s)s - retention.days * {_DAY_S}
    where (clip.expires_s, clip.clip) > (%(t)s, %(clip)s)
    order by clip.expires_s, clip.clip limit %(limit)s
"""
_INSERT: Final = (
    "insert into clip (clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code,"
    " sha256, ciphertext_sha256, dkey, instance, start)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,"
    " coalesce((select start from clock where instance = %s), 0))"
    " on conflict do nothing returning greatest(seq, (select max(seq) from clip as other"
    " where other.dkey = clip.dkey))"
)
_CONFLICTS: Final = (
    "select clip, sha256, owner is null from clip"
    " where clip = %s or ciphertext_sha256 = %s or (dkey = %s and seq = %s)"
)
_ORDERS: Final = (
    "select ordered_s, coalesce(seq, 0), extract(epoch from clock_timestamp())::float8"
    " from erase_order left join erase_order_number on erase_order = id and dkey = %s"
    " where owner = %s and (device is null or device = %s) and from_t <= %s and %s < until_t"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _SinceSealing:
    """Time since a clip was sealed, which goes on while it is stored."""

    wait: Wait
    """At its arrival in this process."""
    arrived_s: float
    """Time of the arrival on the monotonic clock."""

    def at(self, first_s: float, last_s: float) -> Wait:
        """Return it for a moment between two times on the monotonic clock."""
        doubt_s = self.wait.doubt_s and self.wait.doubt_s + last_s - first_s
        return Wait(self.wait.waited_s + first_s - self.arrived_s, doubt_s)


class _Covered(Exception):
    """An erase order covers the clip."""


class FleetStore:
    """Store that several processes share; see ``ClipStore``. Safe for several threads.

    Args:
        database: the PostgreSQL database.
        blobs: the object store.
        instance: name of this archive process.
        row_mac: MAC of the rows; the processes have one key.

    Raises:
        Unavailable: from each method, if database or object store cannot be used.
    """

    def __init__(
        self, database: Postgres, blobs: ObjectBlobs, instance: str, row_mac: RowMac | None = None
    ) -> None:
        self.database: Final = database
        self.blobs: Final = blobs
        self._quarantine = ObjectBlobs(blobs.objects, QUARANTINE)
        self._export = TombstoneExport(blobs)
        self._instance = instance
        self._row_mac = row_mac or RowMac()
        self._clock_rows: TimeStore = ClockRows(database, instance, self._row_mac)
        self.owner_state: Final = FleetOwnerState(database)
        self.version = 0
        """Counts the changes, in this process, of the highest numbers accepted."""
        self._changed: dict[str, int] = {}
        self._sealers: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def keep(
        self,
        envelope: Envelope,
        data: bytes,
        received_s: int,
        *,
        wait: Wait = NO_WAIT,
        now: ArchiveTime | None = None,
    ) -> bool:
        """Store a verified envelope durably; see ``Store``."""
        header = envelope.header
        sha256 = hashlib.sha256(data).hexdigest()
        record = make_record(header, len(data), received_s, int(wait.waited_s))
        since = None if now is None else _SinceSealing(wait, time.monotonic())
        with self.database.connection() as connection:
            is_stored = self._examine(connection, envelope, sha256)
        if is_stored and self.blobs.size_bytes(header.owner, header.clip) == len(data):
            return False
        try:
            is_new_object = self.blobs.put_new(header.owner, header.clip, data)
        except BlobConflict as error:
            raise Replayed(str(error)) from error
        if is_stored and not is_new_object:
            return False
        try:
            is_added = self._insert(envelope, record, sha256, since, is_new_object=is_new_object)
        except _Covered:
            self._refuse(envelope, sha256)
        except Erased:
            # Its tombstone keeps every process from storing it again: nothing needs the object.
            self.blobs.erase([(header.owner, header.clip)])
            raise
        except Replayed:
            if is_new_object:  # as above: the row of the other clip remains, kept or erased
                self.blobs.erase([(header.owner, header.clip)])
            raise
        if not is_added and is_new_object:
            _log.warning("restored the missing object of an archived clip")
        return is_added

    def _examine(self, connection: PgConnection, envelope: Envelope, sha256: str) -> bool:
        """Return True if exactly this clip is stored.

        Raises:
            Replayed: another clip has its id, ciphertext or sequence number.
            Erased: it was erased.
        """
        header = envelope.header
        rows = connection.execute(
            _CONFLICTS, (header.clip, envelope.seal.sha256, header.dkey, header.seq)
        ).fetchall()
        if any((clip, other) != (header.clip, sha256) for clip, other, _ in rows):
            raise Replayed("another clip has its id, ciphertext or sequence number")
        if any(is_erased for *_, is_erased in rows):
            raise Erased("this clip was erased")
        return bool(rows)

    @staticmethod
    def _is_refused(
        connection: PgConnection, header: PublicHeader, since: _SinceSealing | None
    ) -> bool:
        """Return True if an erase order covers an arriving clip; see ``OwnerState.is_refused``.

        Args:
            connection: to the database.
            header: of the verified envelope.
            since: time since it was sealed; None compares numbers only.
        """
        begun_s = time.monotonic()
        rows = connection.execute(
            _ORDERS, (header.dkey, header.owner, header.device, header.t, header.t)
        ).fetchall()
        orders = [EraseOrder(_database_time(ordered_s), seq) for ordered_s, seq, _ in rows]
        if not rows or since is None:
            return is_covered(orders, header, NO_WAIT, None)
        # The database's clock was read at some moment since.
        wait = since.at(begun_s, time.monotonic())
        return is_covered(orders, header, wait, _database_time(rows[0][2]))

    def _insert(
        self,
        envelope: Envelope,
        record: ClipRecord,
        sha256: str,
        since: _SinceSealing | None,
        *,
        is_new_object: bool,
    ) -> bool:
        """Insert a clip's row unless an order or another row forbids it.

        Returns:
            False if its row exists already.

        Raises:
            _Covered: an erase order covers it.
            Erased, Replayed, Undecided: as ``keep``.
        """
        header = envelope.header
        code = self._row_mac.compute_sealer(header.owner, header.device)
        is_sealer_new = (code, header.dkey) not in self._sealers
        with self.database.pipelined_transaction() as connection:
            lock_owner(connection, header.owner, is_exclusive=False)
            inserted = connection.execute(
                _INSERT,
                (
                    *self._values(record),
                    *(sha256, envelope.seal.sha256, header.dkey),
                    *(self._instance, self._instance),
                ),
            )
            is_covered_now = self._is_refused(connection, header, since)
            highest = inserted.fetchone()
            if highest is None:
                if not self._examine(connection, envelope, sha256):
                    raise Unavailable("the row of a clip changed meanwhile; it is sent again")
                return False
            if is_covered_now:
                raise _Covered
            # Repair may have moved what an earlier attempt left; it holds the owner's lock then.
            if not is_new_object and not self.blobs.exists(header.owner, header.clip):
                raise Unavailable("the clip's object was moved meanwhile; it is sent again")
            if is_sealer_new:
                self._add_sealer(connection, header.owner, code, header.dkey)
        self._sealers.add((code, header.dkey))
        with self._lock:
            self._changed[header.dkey] = max(highest[0], self._changed.get(header.dkey, 0))
            self.version += 1
        return True

    def _values(self, record: ClipRecord) -> tuple[Any, ...]:
        return (
            *(record.clip, record.owner, record.device, record.seq, record.t, record.ttl_s),
            *(record.size_bytes, record.received_s, record.expires_s),
            self._row_mac.compute(record),
        )

    def _add_sealer(self, connection: PgConnection, owner: str, code: str, dkey: str) -> None:
        added = connection.execute(
            "insert into sealer (code, owner_code, dkey) values (%s, %s, %s)"
            " on conflict do nothing",
            (code, self._row_mac.compute_sealer(owner, ""), dkey),
        )
        if added.rowcount:
            bump_change(connection)

    def _refuse(self, envelope: Envelope, sha256: str) -> NoReturn:
        """Write the tombstone of a clip that an erase order covers, and raise ``Erased``."""
        self.erase(envelope.header.owner, [make_tombstone(envelope, sha256)])
        raise Erased("this clip was erased")

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        """Yield the stored clips; see ``Store``."""
        if owner is None:
            yield from self._all_clips()
            return
        after = ""
        while page := self.page(owner, ("", "A"), after=after):
            yield from page
            after = f"{page[-1].t}/{page[-1].clip}"

    def _all_clips(self) -> Iterator[ClipRecord]:
        with (
            self.database.transaction() as connection,
            connection.cursor(name="clips") as cursor,
        ):
            cursor.itersize = MOST_ROWS
            cursor.execute(f"{_SELECT} where owner is not null order by t, clip")
            for row in cursor:
                yield self._read(row)[0]

    def page(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = MOST_ROWS,
    ) -> list[ClipRecord]:
        """Return clips in order of time; see ``ClipStore``."""
        rows = self.page_with_mac_check(owner, span, device=device, after=after, limit=limit)
        return [record for record, _ in rows]

    def page_with_mac_check(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = MOST_ROWS,
    ) -> list[tuple[ClipRecord, bool]]:
        """Return clips as ``page`` does, each with True if its row has a valid MAC."""
        t, _, clip = after.partition("/")
        whose = "owner = %(owner)s" if owner is not None else "owner is not null"
        with self.database.connection() as connection:
            rows = connection.execute(
                f"{_SELECT} where {whose} and t >= %(first)s and t < %(last)s"
                " and (%(device)s::text is null or device = %(device)s)"
                " and (t, clip) > (%(t)s, %(clip)s) order by t, clip limit %(limit)s",
                {
                    "owner": owner,
                    "first": max(span[0], t),
                    "last": span[1],
                    "device": device,
                    "t": t,
                    "clip": clip,
                    "limit": limit,
                },
            ).fetchall()
        return [self._read(row) for row in rows]

    def _read(self, row: Sequence[Any]) -> tuple[ClipRecord, bool]:
        *values, code = row
        record = ClipRecord(*values)
        return record, self._row_mac.compute(record) == code

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return a clip's owner and tombstone, by its row."""
        with self.database.connection() as connection:
            row = connection.execute(
                "select owner, clip, sha256, ciphertext_sha256, dkey, seq from clip"
                " where clip = %s and owner is not null",
                (clip,),
            ).fetchone()
        return None if row is None else (row[0], Tombstone(*row[1:]))

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of an owner's newest clip from a device, by its row."""
        with self.database.connection() as connection:
            row = connection.execute(
                "select clip from clip where owner = %(owner)s and device = %(device)s and dkey ="
                " (select dkey from clip where owner = %(owner)s and device = %(device)s"
                " order by received_s desc limit 1) order by seq desc limit 1",
                {"owner": owner, "device": device},
            ).fetchone()
        return None if row is None else str(row[0])

    def clips_without_blob(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's rows without an object; see ``ClipStore``."""
        # The rows are first: a clip that is stored meanwhile has its object already.
        ids = [record.clip for record in self.clips(owner)]
        if ids:
            missing = set(ids).difference(self.blobs.ids(owner))
            yield from (clip for clip in ids if clip in missing)

    def find_holders(self, clip: str, owners: Iterable[str]) -> Iterator[str]:
        """Yield the owner whom the row of a clip names, if there is one.

        Args:
            clip: the id.
            owners: not used: the rows are searched instead.
        """
        del owners
        row = self.row(clip)
        return iter(() if row is None else (row[0],))

    def highest_seq(self, dkey: str) -> int:
        """Return the highest number accepted of a device's key, erased clips included; or 0."""
        return self.highest_seqs([dkey]).get(dkey, 0)

    def highest_seqs(self, dkeys: Sequence[str]) -> dict[str, int]:
        """Return ``highest_seq`` of each device key of which a number was accepted."""
        with self.database.connection() as connection:
            rows = connection.execute(
                "select dkey, (select max(seq) from clip where clip.dkey = given.dkey)"
                " from unnest(%s::text[]) as given (dkey)",
                (list(dkeys),),
            ).fetchall()
        return {dkey: seq for dkey, seq in rows if seq}

    def changed_numbers(self) -> dict[str, int]:
        """Return and forget the highest numbers of the keys of which it accepted one."""
        with self._lock:
            changed, self._changed = self._changed, {}
        return changed

    def has_sealed(self, owner: str, device: str) -> bool:
        """Return True if a verified clip of an owner came from a device, erased or not."""
        return self.owner_state.is_sealer(self._row_mac.compute_sealer(owner, device))

    def refresh_row(self, envelope: Envelope, data: bytes) -> ClipRecord:
        """Replace a clip's row by one from its verified envelope; see ``ClipStore``."""
        header = envelope.header
        arrived_s = self.blobs.arrived_s(header.owner, header.clip)
        record = make_record(header, len(data), arrived_s)
        digests = (hashlib.sha256(data).hexdigest(), envelope.seal.sha256, header.dkey)
        try:
            with self.database.transaction() as connection:
                connection.execute(
                    "update clip set owner = %s, device = %s, seq = %s, t = %s, ttl_s = %s,"
                    " size_bytes = %s, received_s = %s, expires_s = %s, code = %s, sha256 = %s,"
                    " ciphertext_sha256 = %s, dkey = %s where clip = %s and owner is not null",
                    (*self._values(record)[1:], *digests, record.clip),
                )
        except Unavailable as error:
            if isinstance(error.__cause__, psycopg.errors.UniqueViolation):
                raise Replayed("another clip has its ciphertext or sequence number") from error
            raise
        return record

    def load_time(self) -> bytes | None:
        """Return the stored state of this process's clock; see ``TimeStore``."""
        return self._clock_rows.load_time()

    def save_time(
        self, state: bytes, start: int, *, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> None:
        """Store the state of this process's clock; see ``TimeStore``.

        Only the clips that this process received change with it.
        """
        self._clock_rows.save_time(state, start, shifts=shifts, relabel_s=relabel_s)

    def newest_arrival(self) -> int | None:
        """Return the latest arrival of a clip in this process; see ``TimeStore``."""
        return self._clock_rows.newest_arrival()

    def newest_start(self) -> int:
        """Return the largest number of a start of this process's computer; see ``TimeStore``."""
        return self._clock_rows.newest_start()

    def take_confirmation(self) -> bytes | None:
        """Return and remove a person's confirmation of this process's clock."""
        return self._clock_rows.take_confirmation()

    def database_time_s(self) -> float:
        """Return the database server's clock, in seconds since 1970."""
        with self.database.connection() as connection:
            return _read_time(connection)

    def refuse_span(
        self, owner: str, span: tuple[str, str], device: str | None, now: ArchiveTime
    ) -> None:
        """Refuse an owner's clips that were made before now; see ``OwnerState.refuse_span``.

        Args:
            owner: the owner who ordered it.
            span: first time (inclusive) and last time (exclusive), as in envelope headers.
            device: only this device's clips, if given.
            now: not used: orders are timed by the database server's clock.
        """
        del now
        with self.database.transaction() as connection:
            lock_owner(connection, owner, is_exclusive=True)
            connection.execute(
                "delete from erase_order where owner = %(owner)s and (ordered_s < extract(epoch"
                " from clock_timestamp()) - %(lapses_s)s or ((%(device)s::text is null or device"
                " is not distinct from %(device)s) and from_t >= %(first)s"
                " and until_t <= %(last)s))",
                {
                    "owner": owner,
                    "lapses_s": ORDER_LAPSES_S,
                    "device": device,
                    "first": span[0],
                    "last": span[1],
                },
            )
            count = connection.execute(
                "select count(*) from erase_order where owner = %s", (owner,)
            ).fetchone()
            if count is not None and count[0] >= MOST_SPANS:
                raise UsageError(
                    "there are too many orders to erase separate spans of time",
                    "erase one longer span, or all clips",
                )
            rows = connection.execute(
                "select dkey, (select max(seq) from clip where clip.dkey = sealer.dkey)"
                " from sealer where owner_code = %s group by dkey",
                (self._row_mac.compute_sealer(owner, ""),),
            ).fetchall()
            order = OrderCopy(
                owner=owner,
                device=device,
                from_t=span[0],
                until_t=span[1],
                ordered_s=_read_time(connection),
                numbers={dkey: seq for dkey, seq in rows if seq},
            )
            insert_order(connection, order)
            # Should the commit fail, the order counts after a restoration: its owner gave it.
            self._export.write_order(connection, order)

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips: rows, then their copy in the object store, then the envelopes."""
        pending = list(tombstones)
        for first in range(0, len(pending), MOST_ROWS):
            self._erase_batch(pending[first : first + MOST_ROWS], owner)

    def _erase_batch(self, batch: Sequence[Tombstone], owner: str | None = None) -> int:
        """Erase at most ``MOST_ROWS`` clips; return the number of those that had a row."""
        with self.database.transaction() as connection:
            erased = erase_rows(connection, batch, owner)
        with self.database.connection() as connection:
            self._complete(connection, batch)
        return len(erased)

    def _complete(self, connection: PgConnection, tombstones: Sequence[Tombstone]) -> None:
        """Export tombstones, delete the envelopes, and forget that they were to be deleted."""
        self._export.write(connection, tombstones)
        ids = [tombstone.clip for tombstone in tombstones]
        doomed = connection.execute(
            "select owner, clip from doomed where clip = any(%s)", (ids,)
        ).fetchall()
        self.blobs.erase([(owner, clip) for owner, clip in doomed])
        with connection.cursor() as cursor, connection.transaction():
            cursor.executemany("delete from doomed where owner = %s and clip = %s", sorted(doomed))

    def complete_erasures(self, grace_s: float = _DOOMED_GRACE_S) -> int:
        """Delete the envelopes of erased clips that a crash left; return their number.

        Args:
            grace_s: age of an erasure below which it is left to the process that began it.
        """
        number = 0
        while True:
            with self.database.connection() as connection:
                rows = connection.execute(
                    "select clip, sha256, coalesce(ciphertext_sha256, sha256),"
                    " coalesce(dkey, ''), coalesce(seq, 0) from clip where owner is null and clip"
                    " in (select clip from doomed where since < clock_timestamp() -"
                    " make_interval(secs => %s) order by since limit %s)",
                    (grace_s, MOST_ROWS),
                ).fetchall()
                if not rows:
                    return number
                self._complete(connection, [Tombstone(*row) for row in rows])
            number += len(rows)

    def expire(self, now_s: int) -> int:
        """Erase the clips whose retention has ended, quarantined ones too; see ``Store``.

        One process at a time; another one returns 0 at once. A row without a valid MAC expires no
        clip: the repair verifies its envelope first.
        """
        with self.database.try_lock(SWEEP_LOCK) as is_held:
            if not is_held:
                return 0
            self.complete_erasures()
            number = self._expire_rows(_EXPIRED, now_s) + self._expire_rows(_OVER_RETENTION, now_s)
            for piece in self._quarantine.pieces():
                for item in piece:
                    number += self._expire_quarantined(item, now_s)
            with self.database.connection() as connection:
                self._export.prune(connection)
        return number

    def _expire_rows(self, query: str, now_s: int) -> int:
        number = 0
        t, clip = -1, ""
        while True:
            with self.database.connection() as connection:
                rows = connection.execute(
                    query, {"now_s": now_s, "t": t, "clip": clip, "limit": MOST_ROWS}
                ).fetchall()
            if not rows:
                return number
            due = []
            for *row, sha256, ciphertext_sha256, dkey in rows:
                record, has_valid_mac = self._read(row)
                t, clip = record.expires_s, record.clip
                if has_valid_mac:
                    due.append(Tombstone(clip, sha256, ciphertext_sha256, dkey, record.seq))
            if due:
                number += self._erase_batch(due)

    def _expire_quarantined(self, item: StoredObject, now_s: int) -> bool:
        file = self._read_quarantined(item)
        if file is None or file.expires_s(self.owner_state.retention_of(file.owner)) > now_s:
            return False
        self._destroy(file)
        return True

    def erase_quarantined(
        self, owner: str, is_selected: Callable[[QuarantinedFile], bool]
    ) -> list[ErasedFile]:
        """Erase an owner's objects in the quarantine; see ``ClipStore``."""
        erased = []
        for piece in self._quarantine.pieces(owner):
            for item in piece:
                file = self._read_quarantined(item)
                if file is not None and file.home_folder == owner and is_selected(file):
                    self._destroy(file)
                    device = None if file.header is None else file.header.device
                    erased.append(ErasedFile(file.clip, device, file.sha256))
        return erased

    def quarantine_file(self, owner: str, clip: str) -> bool:
        """Move an object that does not verify to the quarantine; see ``ClipStore``."""
        with self.database.transaction() as connection:
            lock_owner(connection, owner, is_exclusive=True)
            row = connection.execute(
                "select 1 from clip where clip = %s and owner is not null", (clip,)
            ).fetchone()
            if row is not None or (data := self.blobs.get(owner, clip)) is None:
                return False
            file = describe_file(Path(self.blobs.key(owner, clip)), owner, data, 0.0)
            with contextlib.suppress(BlobConflict):  # the copy of another object stays
                self._quarantine.put_new(file.home_folder, clip, data)
                self.blobs.erase([(owner, clip)])
                return True
        return False

    def count_quarantined(self, owner: str | None = None) -> int:
        """Return the number of objects in the quarantine, or of an owner's."""
        return sum(map(len, self._quarantine.pieces(owner)))

    def _read_quarantined(self, item: StoredObject) -> QuarantinedFile | None:
        data = self._quarantine.read(item.key)
        if data is None:
            return None
        return describe_file(Path(item.key), item.owner, data, float(item.arrived_s))

    def _destroy(self, file: QuarantinedFile) -> None:
        """Delete an object of the quarantine, and write its tombstone.

        Its header is not verified, so its tombstone names no sequence number, and a clip that is
        stored under the same id gets none.
        """
        with self.database.transaction() as connection:
            row = connection.execute("select 1 from clip where clip = %s", (file.clip,)).fetchone()
            if row is None and not self.blobs.exists(file.home_folder, file.clip):
                tombstone = Tombstone(file.clip, file.sha256, file.sha256, "", 0)
                erase_rows(connection, [tombstone])
                self._export.write(connection, [tombstone])
        self._quarantine.delete([str(file.path)])

    def repair(self, verify: Callable[[bytes], Envelope], grace_s: int = GRACE_S) -> int:
        """Reconcile objects and rows, safe beside processes that store and erase.

        One process at a time; another one returns 0 at once. Objects are listed in pieces, and at
        most ``MOST_ROWS`` rows are read or changed in a transaction. An object without a row that
        is older than the grace gets a row if it verifies, and is moved to the quarantine if not.

        Args:
            verify: verifies an envelope; raises ``BadEnvelope``.
            grace_s: age of an object below which another process may be storing it.

        Returns:
            The number of rows created.
        """
        with self.database.try_lock(SWEEP_LOCK) as is_held:
            if not is_held:
                return 0
            if completed := self.complete_erasures():
                _log.warning("completed the erasure of %s", quantity(completed, "clip"))
            return object_repair.repair(self, verify, grace_s)

    def examine_piece(
        self, piece: Sequence[StoredObject]
    ) -> dict[str, tuple[ClipRecord | None, bool]]:
        """Return the rows of listed objects by id, each with True if its MAC is valid.

        A tombstone is None.
        """
        ids = [item.clip for item in piece]
        with self.database.connection() as connection:
            rows = connection.execute(f"{_SELECT} where clip = any(%s)", (ids,)).fetchall()
        return {row[0]: (None, True) if row[1] is None else self._read(row) for row in rows}

    def add_row(self, envelope: Envelope, data: bytes, arrived_s: int) -> bool:
        """Insert the row of an object that has none; return False if it has one meanwhile.

        Raises:
            Replayed: another clip has its ciphertext or sequence number.
            Erased: it was erased.
        """
        header = envelope.header
        sha256 = hashlib.sha256(data).hexdigest()
        record = make_record(header, len(data), arrived_s)
        try:
            return self._insert(envelope, record, sha256, None, is_new_object=False)
        except _Covered as error:
            self.erase(header.owner, [make_tombstone(envelope, sha256)])
            raise Erased("this clip was erased") from error


def _read_time(connection: PgConnection) -> float:
    row = connection.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    if row is None:
        raise Unavailable("the database did not return its time")
    return float(row[0])


def _database_time(time_s: float) -> ArchiveTime:
    """Return a moment of the database server's clock, which no start interrupts."""
    return ArchiveTime(time_s, time_s, time_s)


def open_database(url: str, blobs: ObjectBlobs) -> Postgres:
    """Open the database of a fleet.

    Each new connection first adds the tombstones that a restored copy of the database lacks.

    Args:
        url: ``postgresql://…``.
        blobs: the object store with the copies of the tombstones.

    Raises:
        ConfigError: the URL is not valid.
        Unavailable: the database cannot be used.
    """
    export = TombstoneExport(blobs)

    def add_missing(connection: PgConnection) -> None:
        if number := export.import_missing(connection):
            _log.warning(
                "the database lacked %s of erased clips and orders, which were added: it was"
                " restored from an older copy",
                quantity(number, "list"),
            )

    return Postgres(url, add_missing)
