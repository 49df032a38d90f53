"""The SQLite index of the archived clips, by owner and time; each row carries a MAC.

It verifies no envelope and reads no clip file; ``store`` keeps it consistent with the files. The
caller holds one lock around every call and translates SQLite's errors.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from listener.archive.elapsed_time import Shift
from listener.archive.owner_state import Tombstone
from listener.archive.records import ClipRecord, Replayed, RowMac
from listener.envelope.format import Envelope, PublicHeader
from listener.storage.sqlite import close_database, open_database, overwrite_log, transaction

_DAY_S: Final = 86_400
# Largest plausible age of a clip at its arrival: a week in the spool, and one day. For an older
# one the device's clock is wrong, and retention counts from the arrival.
PLAUSIBLE_S: Final = 8 * 86_400

_SCHEMA: Final = """
    create table if not exists clip (
        clip text primary key,
        owner text not null,
        device text not null,
        dkey text not null,
        seq integer not null,
        t text not null,
        ttl_s integer not null,
        size_bytes integer not null,
        sha256 text not null,
        ciphertext_sha256 text not null unique,
        received_s integer not null,
        expires_s integer not null,
        code text not null default '',
        unique (dkey, seq)
    ) strict, without rowid;
    create table if not exists time (
        id integer primary key check (id = 1),
        state text not null,
        start integer not null,
        code text not null
    ) strict;
    -- Apart from the clips, so that an earlier version, which inserts a value for each column, can
    -- use the index after a rollback; the triggers keep both together there, too.
    create table if not exists clip_start (
        clip text primary key,
        start integer not null
    ) strict, without rowid;
    create trigger if not exists clip_added after insert on clip begin
        insert or replace into clip_start select new.clip, coalesce(max(start), 0) from time;
    end;
    create trigger if not exists clip_removed after delete on clip begin
        delete from clip_start where clip = old.clip;
    end;
    create table if not exists clock_confirmation (
        id integer primary key check (id = 1),
        reading text not null
    ) strict;
    create index if not exists clip_by_owner on clip (owner, t);
    create index if not exists clip_by_expiry on clip (expires_s);
"""
_SELECT: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code from clip"
)
_WITH_DIGESTS: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code,"
    " sha256, ciphertext_sha256, dkey from clip"
)


def make_record(
    header: PublicHeader, size_bytes: int, received_s: int, waited_s: int = 0
) -> ClipRecord:
    """Return the record of a clip that arrives.

    Retention counts from the arrival, less the time that the clip waited at its speaker: the
    shorter of what the speaker's wall clock and its running time say.

    Args:
        header: of the verified envelope.
        size_bytes: size of the envelope.
        received_s: accepted time of arrival, seconds since 1970.
        waited_s: running time since the clip was sealed.
    """
    taken_s = datetime.fromisoformat(header.t).timestamp()
    plausible = received_s - PLAUSIBLE_S <= taken_s <= received_s
    began_s = max(int(taken_s), received_s - max(0, waited_s)) if plausible else received_s
    return ClipRecord(
        clip=header.clip,
        owner=header.owner,
        device=header.device,
        seq=header.seq,
        t=header.t,
        ttl_s=header.ttl_s,
        size_bytes=size_bytes,
        received_s=received_s,
        expires_s=began_s + header.ttl_s,
    )


class ClipIndex:
    """The rows of one archive. For one thread at a time.

    Args:
        path: the database file, created if missing.
        row_mac: MAC of the rows.

    Raises:
        OSError: the file cannot be created.
        sqlite3.Error: from each method, if the database cannot be used.
    """

    def __init__(self, path: Path, row_mac: RowMac) -> None:
        self._path = path
        self._row_mac = row_mac
        added = [("clip", "code", "text default ''")]  # indexes of earlier versions lack it
        self.rows = open_database(path, _SCHEMA, added)

    def close(self) -> None:
        """Overwrite the write-ahead log, and close the file."""
        close_database(self.rows, self._path)

    def find_conflicts(self, envelope: Envelope) -> list[tuple[str, str]]:
        """Return id and SHA-256 of each clip with an envelope's id, ciphertext or number."""
        header = envelope.header
        return self.rows.execute(
            "select clip, sha256 from clip"
            " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
            (header.clip, envelope.seal.sha256, header.dkey, header.seq),
        ).fetchall()

    def add(
        self, envelope: Envelope, data: bytes, received_s: int, waited_s: int = 0
    ) -> ClipRecord:
        """Insert the row of a verified envelope; return it.

        Args:
            envelope: the verified envelope.
            data: its bytes.
            received_s: accepted time of arrival, seconds since 1970.
            waited_s: running time of the speaker since the clip was sealed.

        Raises:
            Replayed: another clip has its id, ciphertext or sequence number.
        """
        header = envelope.header
        record = make_record(header, len(data), received_s, waited_s)
        try:
            self.rows.execute(
                "insert into clip (clip, owner, device, dkey, seq, t, ttl_s, size_bytes, sha256,"
                " ciphertext_sha256, received_s, expires_s, code) values (?, ?, ?, ?, ?, ?, ?, ?,"
                " ?, ?, ?, ?, ?)",
                (
                    *(
                        record.clip,
                        record.owner,
                        record.device,
                        header.dkey,
                        record.seq,
                        record.t,
                        record.ttl_s,
                    ),
                    *(record.size_bytes, hashlib.sha256(data).hexdigest(), envelope.seal.sha256),
                    *(record.received_s, record.expires_s, self._row_mac.compute(record)),
                ),
            )
        except sqlite3.IntegrityError as error:
            raise Replayed("another clip has its id, ciphertext or sequence number") from error
        return record

    def delete(self, clips: Iterable[str]) -> None:
        """Delete the rows of clips."""
        with transaction(self.rows):
            self.rows.executemany("delete from clip where clip = ?", [(clip,) for clip in clips])

    def write_macs(self, rows: Iterable[ClipRecord]) -> None:
        """Write the MACs of rows that agree with their verified files."""
        with transaction(self.rows):
            self.rows.executemany(
                "update clip set code = ? where clip = ?",
                [(self._row_mac.compute(record), record.clip) for record in rows],
            )

    def page_with_mac_check(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None,
        after: str,
        limit: int,
    ) -> list[tuple[ClipRecord, bool]]:
        """Return rows in order of time, each with True if its MAC is valid."""
        t, _, clip = after.partition("/")
        condition = "owner = ?1" if owner is not None else "?1 is null"
        rows = self.rows.execute(
            f"{_SELECT} where {condition} and t >= ?2 and t < ?3 and (?4 is null or device = ?4)"
            " and (t, clip) > (?5, ?6) order by t, clip limit ?7",
            (owner, max(span[0], t), span[1], device, t, clip, limit),
        )
        return [self._read(row) for row in rows]

    def unverified_rows(self) -> list[ClipRecord]:
        """Return the rows without a valid MAC."""
        rows = map(self._read, self.rows.execute(_SELECT))
        return [record for record, has_valid_mac in rows if not has_valid_mac]

    def locations(self) -> list[tuple[str, str]]:
        """Return owner and clip id of every row."""
        return self.rows.execute("select owner, clip from clip").fetchall()

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of an owner's newest clip from a device: of its latest key, by number."""
        row = self.rows.execute(
            "select clip from clip where owner = ?1 and device = ?2 and dkey = (select dkey"
            " from clip where owner = ?1 and device = ?2 order by received_s desc limit 1)"
            " order by seq desc limit 1",
            (owner, device),
        ).fetchone()
        return None if row is None else str(row[0])

    def highest_seq(self, dkey: str) -> int:
        """Return the highest sequence number of a device's key; 0 without any."""
        (seq,) = self.rows.execute("select max(seq) from clip where dkey = ?", (dkey,)).fetchone()
        return seq or 0

    def sealers(self) -> list[tuple[str, str]]:
        """Return each owner with each device that sealed a stored clip for them."""
        return self.rows.execute("select distinct owner, device from clip").fetchall()

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return a clip's owner and tombstone."""
        row = self.rows.execute(
            "select owner, clip, sha256, ciphertext_sha256, dkey, seq from clip where clip = ?",
            (clip,),
        ).fetchone()
        return None if row is None else (row[0], Tombstone(*row[1:]))

    def expired(self, now_s: int, days: dict[str, int]) -> dict[str, list[Tombstone]]:
        """Return the tombstones of expired clips by owner; skip rows without a valid MAC.

        Args:
            now_s: seconds since 1970.
            days: retention limit in days, by owner.
        """
        rows = self.rows.execute(f"{_WITH_DIGESTS} where expires_s <= ?", (now_s,)).fetchall()
        for owner, most in days.items():
            rows += self.rows.execute(
                f"{_WITH_DIGESTS} where owner = ? and expires_s > ? and expires_s - ttl_s + ? <= ?",
                (owner, now_s, most * _DAY_S, now_s),
            ).fetchall()
        expired: dict[str, list[Tombstone]] = {}
        for *row, sha256, ciphertext_sha256, dkey in rows:
            record, has_valid_mac = self._read(row)
            if has_valid_mac:
                tombstone = Tombstone(record.clip, sha256, ciphertext_sha256, dkey, record.seq)
                expired.setdefault(record.owner, []).append(tombstone)
        return expired

    def load_time(self) -> bytes | None:
        """Return the stored state of the clock, or None without one that has a valid MAC."""
        row = self.rows.execute("select state, start, code from time").fetchone()
        if row is None or self._row_mac.compute_bytes(_time_row(row[0], row[1])) != row[2]:
            return None
        return str(row[0]).encode()

    def save_time(
        self, state: str, start: int, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> list[ClipRecord]:
        """Store the state of the clock and change the clips' times, all or nothing.

        Args:
            state: the state.
            start: number of this start of the computer.
            shifts: changes of the clips' times by the start in which they arrived.
            relabel_s: seconds to add to the times of all clips.

        Returns:
            The changed rows.
        """
        changed: list[ClipRecord] = []
        with transaction(self.rows):
            self.rows.execute(
                "insert or replace into time values (1, ?, ?, ?)",
                (state, start, self._row_mac.compute_bytes(_time_row(state, start))),
            )
            everywhere = (Shift(0, start, relabel_s),) if relabel_s else ()
            for shift in (*shifts, *everywhere):
                rows = self.rows.execute(
                    f"{_SELECT} left join clip_start using (clip)"
                    " where coalesce(start, 0) between ? and ?",
                    (shift.first, shift.last),
                ).fetchall()
                changed += [self._shift(row, shift.by_s) for row in rows]
        return changed

    def _shift(self, row: tuple[Any, ...], by_s: int) -> ClipRecord:
        record, has_valid_mac = self._read(row)
        record = replace(
            record, received_s=record.received_s + by_s, expires_s=record.expires_s + by_s
        )
        self.rows.execute(
            "update clip set received_s = ?, expires_s = ?, code = ? where clip = ?",
            (
                *(record.received_s, record.expires_s),
                *(self._row_mac.compute(record) if has_valid_mac else "", record.clip),
            ),
        )
        return record

    def newest_arrival(self) -> int | None:
        """Return the latest time of arrival, seconds since 1970; None without clips."""
        (newest_s,) = self.rows.execute("select max(received_s) from clip").fetchone()
        return None if newest_s is None else int(newest_s)

    def newest_start(self) -> int:
        """Return the largest number of a start of the computer."""
        (start,) = self.rows.execute("select coalesce(max(start), 0) from clip_start").fetchone()
        return int(start)

    def take_confirmation(self) -> bytes | None:
        """Return and remove a person's confirmation of the clock."""
        row = self.rows.execute("select reading from clock_confirmation").fetchone()
        if row is None:
            return None
        self.rows.execute("delete from clock_confirmation")
        return str(row[0]).encode()

    def add_confirmation(self, reading: bytes) -> None:
        """Store a person's confirmation of the clock."""
        self.rows.execute(
            "insert or replace into clock_confirmation values (1, ?)", (reading.decode(),)
        )

    def highest_numbers(self) -> dict[str, int]:
        """Return the highest sequence number by device key."""
        rows = self.rows.execute("select dkey, max(seq) from clip group by dkey")
        return dict(rows.fetchall())

    def overwrite_log(self) -> bool:
        """Overwrite the write-ahead log, so that nothing of deleted rows remains in it.

        Returns:
            False if a reader prevented it: try again later.
        """
        return overwrite_log(self.rows, self._path)

    def _read(self, row: tuple[Any, ...]) -> tuple[ClipRecord, bool]:
        *values, code = row
        record = ClipRecord(*values)
        return record, self._row_mac.compute(record) == code


def _time_row(state: str, start: int) -> bytes:
    """Return the bytes under the MAC of the clock's state."""
    return f"time {start} {state}".encode()
