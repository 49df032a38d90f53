"""What the archive has, by owner and time: rows that vouch for themselves, in SQLite.

It judges nothing and reads no file; ``store`` keeps it in step with the files. Its user holds one
lock around every call, and turns SQLite's other errors into ours.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from listener.archive.owner_state import Tombstone
from listener.archive.records import ClipRecord, Replayed, RowMac
from listener.envelope.format import Envelope
from listener.storage.sqlite import open_database, transaction

_DAY_S: Final = 86_400
# How far a device's clock may lie behind ours when its clip arrives: a week in the spool, and one
# day. Further off, it is the clock that is wrong, and retention counts from the arrival.
_PLAUSIBLE_S: Final = 8 * 86_400

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
    create index if not exists clip_by_owner on clip (owner, t);
    create index if not exists clip_by_expiry on clip (expires_s);
"""
_EVERY: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code from clip"
)
_WITH_DIGESTS: Final = (
    "select clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code,"
    " sha256, ciphertext_sha256, dkey from clip"
)


class ClipIndex:
    """The rows of one archive.

    Args:
        path: its file, made when it is not there.
        voucher: makes the codes of the rows.

    Raises:
        OSError: the file cannot be made.
        sqlite3.Error: from each method, when it cannot be used.
    """

    def __init__(self, path: Path, voucher: RowMac) -> None:
        self._voucher = voucher
        # An index of before there were codes lacks the column.
        self.rows = open_database(path, _SCHEMA, [("clip", "code", "text default ''")])

    def close(self) -> None:
        """Let go of the file."""
        self.rows.close()

    def find_conflicts(self, envelope: Envelope) -> list[tuple[str, str]]:
        """Return id and hash of each clip that has an envelope's id, ciphertext or number."""
        header = envelope.header
        return self.rows.execute(
            "select clip, sha256 from clip"
            " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
            (header.clip, envelope.seal.sha256, header.dkey, header.seq),
        ).fetchall()

    def add(self, envelope: Envelope, data: bytes, received_s: int) -> ClipRecord:
        """Make the row of a verified envelope, and return what it says.

        Raises:
            Replayed: its id, ciphertext or number is another's.
        """
        header = envelope.header
        taken_s = datetime.fromisoformat(header.t).timestamp()
        plausible = received_s - _PLAUSIBLE_S <= taken_s <= received_s
        kept = ClipRecord(
            clip=header.clip,
            owner=header.owner,
            device=header.device,
            seq=header.seq,
            t=header.t,
            ttl_s=header.ttl_s,
            size_bytes=len(data),
            received_s=received_s,
            expires_s=(int(taken_s) if plausible else received_s) + header.ttl_s,
        )
        try:
            self.rows.execute(
                "insert into clip values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(
                        kept.clip,
                        kept.owner,
                        kept.device,
                        header.dkey,
                        kept.seq,
                        kept.t,
                        kept.ttl_s,
                    ),
                    *(kept.size_bytes, hashlib.sha256(data).hexdigest(), envelope.seal.sha256),
                    *(kept.received_s, kept.expires_s, self._voucher.compute(kept)),
                ),
            )
        except sqlite3.IntegrityError as error:
            raise Replayed("its id, its ciphertext or its number is another clip's") from error
        return kept

    def delete(self, clips: Iterable[str]) -> None:
        """Drop rows."""
        with transaction(self.rows):
            self.rows.executemany("delete from clip where clip = ?", [(clip,) for clip in clips])

    def write_macs(self, rows: Iterable[ClipRecord]) -> None:
        """Give rows their code: their files were verified just now and say the same."""
        with transaction(self.rows):
            self.rows.executemany(
                "update clip set code = ? where clip = ?",
                [(self._voucher.compute(kept), kept.clip) for kept in rows],
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
        """Return rows in the order of time, each with whether it vouches for itself."""
        t, _, clip = after.partition("/")
        which = "owner = ?1" if owner is not None else "?1 is null"
        found = self.rows.execute(
            f"{_EVERY} where {which} and t >= ?2 and t < ?3 and (?4 is null or device = ?4)"
            " and (t, clip) > (?5, ?6) order by t, clip limit ?7",
            (owner, max(span[0], t), span[1], device, t, clip, limit),
        )
        return [self._read(row) for row in found]

    def unverified_rows(self) -> list[ClipRecord]:
        """Return the rows that do not vouch for themselves."""
        found = map(self._read, self.rows.execute(_EVERY))
        return [kept for kept, is_vouched in found if not is_vouched]

    def locations(self) -> list[tuple[str, str]]:
        """Return owner and id of every row."""
        return self.rows.execute("select owner, clip from clip").fetchall()

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of the newest clip of an owner that a device made."""
        found = self.rows.execute(
            "select clip from clip where owner = ? and device = ? order by t desc limit 1",
            (owner, device),
        ).fetchone()
        return None if found is None else str(found[0])

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return whose a clip is, and what its tombstone would be."""
        found = self.rows.execute(
            "select owner, clip, sha256, ciphertext_sha256, dkey, seq from clip where clip = ?",
            (clip,),
        ).fetchone()
        return None if found is None else (found[0], Tombstone(*found[1:]))

    def expired(self, now_s: int, days: dict[str, int]) -> dict[str, list[Tombstone]]:
        """Return what has outlived its time, by owner; no row that does not vouch for itself.

        Args:
            now_s: seconds since 1970.
            days: how long at most, by owner.
        """
        rows = self.rows.execute(f"{_WITH_DIGESTS} where expires_s <= ?", (now_s,)).fetchall()
        for owner, most in days.items():
            rows += self.rows.execute(
                f"{_WITH_DIGESTS} where owner = ? and expires_s > ? and expires_s - ttl_s + ? <= ?",
                (owner, now_s, most * _DAY_S, now_s),
            ).fetchall()
        gone: dict[str, list[Tombstone]] = {}
        for *said, sha256, ciphertext_sha256, dkey in rows:
            kept, is_vouched = self._read(said)
            if is_vouched:
                stone = Tombstone(kept.clip, sha256, ciphertext_sha256, dkey, kept.seq)
                gone.setdefault(kept.owner, []).append(stone)
        return gone

    def checkpoint(self) -> None:
        """Leave nothing of what rows said in the log of writes."""
        self.rows.execute("pragma wal_checkpoint(truncate)")

    def _read(self, row: Any) -> tuple[ClipRecord, bool]:  # noqa: ANN401 - SQLite's values
        *said, code = row
        kept = ClipRecord(*said)
        return kept, self._voucher.compute(kept) == code
