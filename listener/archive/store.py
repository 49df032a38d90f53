"""Where sealed clips lie: one ciphertext file each, and an index of what their headers say.

The file is on the disk before its row, and the row before anybody is told. After a crash between
the two, ``mend`` makes the row from the file. The index is a convenience: the files carry their own
proof, and whoever hands one out verifies it again. A row tells nobody anything but with the code
that was made when its file was verified (``vouching``).
"""

import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from listener.archive.files import PART, SUFFIX, overwrite, read_envelope, write_once
from listener.archive.orders import ORDERS, Orders, Tombstone
from listener.archive.vouching import Kept, Voucher
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope, EarmarkError, Unavailable
from listener.home import make_folder

_BATCH: Final = 500
_DAY_S: Final = 86_400
# How far a device's clock may lie behind ours when its clip arrives: a week in the spool, and one
# day. Further off, it is the clock that is wrong, and retention counts from the arrival.
_PLAUSIBLE_S: Final = 8 * 86_400

_SCHEMA: Final = """
    pragma journal_mode = wal;
    pragma synchronous = full;
    pragma secure_delete = on;
    pragma trusted_schema = off;
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
_COLUMNS: Final = "clip, owner, device, seq, t, ttl_s, size_bytes, received_s, expires_s, code"

_log = logging.getLogger(__name__)


class Replayed(EarmarkError):
    """Other bytes claim what an archived clip has: refuse them, keep what is there."""


class Erased(EarmarkError):
    """This clip was here and is gone for good: do not take it again."""


class Store(Protocol):
    """What the archive needs to keep clips. SQLite and files here; others fit."""

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Keep a verified envelope durably.

        Args:
            envelope: what ``verify`` returned.
            data: its bytes.
            received_s: now, seconds since 1970.

        Returns:
            False when exactly these bytes were here already.

        Raises:
            Replayed: its id, its ciphertext or its number belongs to another envelope.
            Erased: it was erased.
            Unavailable: it cannot be kept now.
        """

    def kept(self, owner: str | None = None) -> Iterator[Kept]:
        """Yield what is here, in the order of its time; only one owner's if asked."""

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; return how many clips went."""


class FileStore:
    """Files below ``clips/<owner>/``, an SQLite index beside them. Safe for several threads.

    Args:
        folder: made when it is not there.
        orders: what was erased; those beside the folder by default, closed with the store.
        voucher: makes the codes of the rows; this archive's own where it serves.

    Raises:
        Unavailable: from each method, when folder or index cannot be used.
    """

    def __init__(
        self, folder: Path, orders: Orders | None = None, voucher: Voucher | None = None
    ) -> None:
        self._folder = folder
        self._voucher = voucher or Voucher()
        self._clips = folder / "clips"
        self._lock = threading.RLock()
        make_folder(self._clips)
        self.orders = orders or Orders(folder.parent / ORDERS)
        with self._available():
            index = folder / "index.sqlite"
            os.close(os.open(index, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._index = sqlite3.connect(
                index, isolation_level=None, timeout=10, check_same_thread=False
            )
            try:
                self._index.executescript(_SCHEMA)
                names = {row[1] for row in self._index.execute("pragma table_info(clip)")}
                if "code" not in names:  # an index of before there were codes
                    self._index.execute("alter table clip add column code text default ''")
            except sqlite3.Error:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the index and the orders."""
        with self._lock:
            self._index.close()
            self.orders.close()

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Keep a verified envelope durably; see ``Store``."""
        sha256 = hashlib.sha256(data).hexdigest()
        header = envelope.header
        with self._available():
            found = self._index.execute(
                "select clip, sha256 from clip"
                " where clip = ? or ciphertext_sha256 = ? or (dkey = ? and seq = ?)",
                (header.clip, envelope.seal.sha256, header.dkey, header.seq),
            ).fetchall()
            gone = [(one.clip, one.sha256) for one in self.orders.matching(envelope)]
            if any(one != (header.clip, sha256) for one in found + gone):
                raise Replayed("its id, its ciphertext or its number is another clip's")
            if gone or (not found and self.orders.is_swept(header)):
                raise Erased("this clip was erased")
            try:
                fresh = write_once(self.path(header.owner, header.clip), data)
            except FileExistsError as error:
                raise Replayed("another file lies in its place") from error
            if not found:
                self._add(envelope, data, received_s)
            elif fresh:
                _log.warning("the file of an archived clip was missing and is back")
            return not found

    def kept(self, owner: str | None = None) -> Iterator[Kept]:
        """Yield what is here; see ``Store``."""
        after = ""
        while page := self.page(owner, ("", "A"), after=after):
            yield from page
            after = f"{page[-1].t}/{page[-1].clip}"

    def page(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = _BATCH,
    ) -> list[Kept]:
        """Return clips in the order of their time.

        Args:
            owner: only hers, if given.
            span: the first moment and the one after the last.
            device: only this one's, if given.
            after: ``<t>/<clip>`` of the one before the first.
            limit: how many at most.
        """
        rows = self.judged(owner, span, device=device, after=after, limit=limit)
        return [kept for kept, _ in rows]

    def judged(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = _BATCH,
    ) -> list[tuple[Kept, bool]]:
        """Return clips as ``page`` does, each with whether its row vouches for itself."""
        t, _, clip = after.partition("/")
        which = "owner = ?1" if owner is not None else "?1 is null"
        with self._available():
            rows = self._index.execute(
                f"select {_COLUMNS} from clip"  # noqa: S608 - our own words
                f" where {which} and t >= ?2 and t < ?3 and (?4 is null or device = ?4)"
                " and (t, clip) > (?5, ?6) order by t, clip limit ?7",
                (owner, max(span[0], t), span[1], device, t, clip, limit),
            ).fetchall()
        found = [(Kept(*row[:-1]), row[-1]) for row in rows]
        return [(kept, self._voucher.code(kept) == code) for kept, code in found]

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of the newest clip of an owner that a device made, by the index."""
        with self._available():
            found = self._index.execute(
                "select clip from clip where owner = ? and device = ? order by t desc limit 1",
                (owner, device),
            ).fetchone()
        return None if found is None else str(found[0])

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return whose a clip is by the index, and what its tombstone would be."""
        with self._available():
            found = self._index.execute(
                "select owner, clip, sha256, ciphertext_sha256, dkey, seq from clip where clip = ?",
                (clip,),
            ).fetchone()
        return None if found is None else (found[0], Tombstone(*found[1:]))

    def renew(self, envelope: Envelope, data: bytes) -> Kept:
        """Make a clip's row anew from its file, which was verified just now; return it.

        Raises:
            Replayed: another row claims its number; the next start sorts that out.
        """
        header = envelope.header
        with self._available():
            received_s = int(self.path(header.owner, header.clip).stat().st_mtime)
            self._forget([header.clip])
            return self._add(envelope, data, received_s)

    def path(self, owner: str, clip: str) -> Path:
        """Return where a clip lies, or would."""
        return self._clips / owner / (clip + SUFFIX)

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips for good: tombstones, rows, files, in this order.

        A crash in between leaves files that ``mend`` knows to be erased.
        """
        gone = list(tombstones)
        with self._available():
            for first in range(0, len(gone), _BATCH):
                batch = gone[first : first + _BATCH]
                self.orders.bury(batch)
                self._forget(one.clip for one in batch)
                overwrite(self.path(owner, one.clip) for one in batch)
            # What the rows said must not stay behind in the log of writes.
            self._index.execute("pragma wal_checkpoint(truncate)")

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; see ``Store``.

        A row that does not vouch for itself ends no clip: the next start asks its file first.
        """
        with self._available():
            what = f"select {_COLUMNS}, sha256, ciphertext_sha256, dkey from clip where "  # noqa: S608 - our own words
            rows = self._index.execute(what + "expires_s <= ?", (now_s,)).fetchall()
            for owner, days in self.orders.retention_days().items():
                rows += self._index.execute(
                    what + "owner = ? and expires_s > ? and expires_s - ttl_s + ? <= ?",
                    (owner, now_s, days * _DAY_S, now_s),
                ).fetchall()
            overdue: dict[str, list[Tombstone]] = {}
            for *said, code, sha256, ciphertext_sha256, dkey in rows:
                kept = Kept(*said)
                if self._voucher.code(kept) == code:
                    stone = Tombstone(kept.clip, sha256, ciphertext_sha256, dkey, kept.seq)
                    overdue.setdefault(kept.owner, []).append(stone)
            for whose, stones in overdue.items():
                self.erase(whose, stones)
        return sum(map(len, overdue.values()))

    def mend(self, verify: Callable[[bytes], Envelope]) -> int:
        """Bring files and index together again after a crash, or after a copy was put back.

        Unfinished files go; files without a row get one if they verify, else they are set aside in
        ``quarantine/``; files and rows of erased clips are erased. A row that does not vouch for
        itself is made anew from the file where it says that this lies, and goes where it cannot be.

        Args:
            verify: as the receiver's; raises ``BadEnvelope``.

        Returns:
            How many rows were made.
        """
        made = 0
        with self._available():
            self._doubt(verify)
            rows = self._index.execute("select clip, owner from clip").fetchall()
            erased = [clip for clip, _ in rows if self.orders.is_buried(clip)]
            self._forget(erased)
            there = {(owner, clip) for clip, owner in rows} - {
                (owner, clip) for clip, owner in rows if clip in set(erased)
            }
            present = set()
            for path in sorted(self._clips.glob("*/*")):
                if path.suffix == PART:
                    path.unlink()
                elif path.suffix == SUFFIX and self.orders.is_buried(path.stem):
                    overwrite([path])
                elif path.suffix == SUFFIX and (path.parent.name, path.stem) not in there:
                    made += self._adopt(path, verify)
                else:
                    present.add((path.parent.name, path.stem))
            if erased:
                _log.warning("%d erased clips had come back and are gone again", len(erased))
            if there - present:
                _log.warning("the files of %d archived clips are missing", len(there - present))
        return made

    def _doubt(self, verify: Callable[[bytes], Envelope]) -> None:
        """Ask the files of rows that do not vouch for themselves."""
        doubtful = [
            kept
            for row in self._index.execute(f"select {_COLUMNS} from clip")  # noqa: S608 - our own words
            if self._voucher.code(kept := Kept(*row[:-1])) != row[-1]
        ]
        sound = [kept for kept in doubtful if self._agrees(kept, verify)]
        self._index.execute("begin immediate")
        self._index.executemany(
            "update clip set code = ? where clip = ?",
            [(self._voucher.code(kept), kept.clip) for kept in sound],
        )
        self._index.execute("commit")
        gone = {kept.clip for kept in doubtful} - {kept.clip for kept in sound}
        self._forget(gone)
        if gone:
            _log.warning("%d rows of the index said what no file says; they are gone", len(gone))

    def _agrees(self, kept: Kept, verify: Callable[[bytes], Envelope]) -> bool:
        """Say whether a clip's file says of it what its row does."""
        try:
            data = read_envelope(self.path(kept.owner, kept.clip))
            header = verify(data).header
        except (OSError, BadEnvelope):
            return False
        return (header.clip, header.owner, header.device, header.seq, header.t, header.ttl_s) == (
            *(kept.clip, kept.owner, kept.device, kept.seq, kept.t, kept.ttl_s),
        ) and kept.size_bytes == len(data)

    def _forget(self, clips: Iterable[str]) -> None:
        self._index.execute("begin immediate")
        self._index.executemany("delete from clip where clip = ?", [(clip,) for clip in clips])
        self._index.execute("commit")

    def _adopt(self, path: Path, verify: Callable[[bytes], Envelope]) -> bool:
        data = read_envelope(path)
        try:
            envelope = verify(data)
            self._check_place(envelope, path)
            self._add(envelope, data, int(path.stat().st_mtime))
        except (BadEnvelope, Replayed) as error:
            _log.warning("a file in the archive is no clip of it and is set aside: %s", error)
            make_folder(self._folder / "quarantine")
            path.replace(self._folder / "quarantine" / path.name)
            return False
        return True

    def _check_place(self, envelope: Envelope, path: Path) -> None:
        if self.path(envelope.header.owner, envelope.header.clip) != path:
            raise BadEnvelope("it lies where another belongs")

    def _add(self, envelope: Envelope, data: bytes, received_s: int) -> Kept:
        header = envelope.header
        taken_s = datetime.fromisoformat(header.t).timestamp()
        plausible = received_s - _PLAUSIBLE_S <= taken_s <= received_s
        kept = Kept(
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
            self._index.execute(
                "insert into clip values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    header.clip,
                    header.owner,
                    header.device,
                    header.dkey,
                    header.seq,
                    header.t,
                    header.ttl_s,
                    len(data),
                    hashlib.sha256(data).hexdigest(),
                    envelope.seal.sha256,
                    received_s,
                    kept.expires_s,
                    self._voucher.code(kept),
                ),
            )
        except sqlite3.IntegrityError as error:
            raise Replayed("its id, its ciphertext or its number is another clip's") from error
        return kept

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except OSError as error:
            raise Unavailable(
                f"cannot use the archive {self._folder}: {error.strerror or error}"
            ) from error
        except sqlite3.Error as error:
            raise Unavailable(
                f"cannot use the index of the archive {self._folder}: {error}",
                "if it is damaged, move it away: it is made again from the clips",
            ) from error
