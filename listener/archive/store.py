"""Where sealed clips lie: one ciphertext file each, and an index of what their headers say.

The file is on the disk before its row, and the row before anybody is told. After a crash between
the two, ``mend`` makes the row from the file. The index is a convenience: the files carry their own
proof, and whoever hands one out verifies it again. A row tells nobody anything but with the code
that was made when its file was verified (``vouching``).
"""

import contextlib
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from listener.archive.files import PART, SUFFIX, overwrite, read_envelope, write_once
from listener.archive.index import Index
from listener.archive.orders import ORDERS, Orders, Tombstone
from listener.archive.vouching import Kept, Voucher
from listener.durable import make_folder
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope, EarmarkError, Unavailable

_BATCH: Final = 500
_ARRIVES_S: Final = 3600

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
        self._clips = folder / "clips"
        self._lock = threading.RLock()
        make_folder(self._clips)
        self.orders = orders or Orders(folder.parent / ORDERS)
        with self._available():
            try:
                self._index = Index(folder / "index.sqlite", voucher or Voucher())
            except BaseException:
                self.orders.close()
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
            found = self._index.claims(envelope)
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
        with self._available():
            return self._index.judged(owner, span, device=device, after=after, limit=limit)

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of the newest clip of an owner that a device made, by the index."""
        with self._available():
            return self._index.newest(owner, device)

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return whose a clip is by the index, and what its tombstone would be."""
        with self._available():
            return self._index.row(clip)

    def renew(self, envelope: Envelope, data: bytes) -> Kept:
        """Make a clip's row anew from its file, which was verified just now; return it.

        Raises:
            Replayed: another row claims its number; the next start sorts that out.
        """
        header = envelope.header
        with self._available():
            received_s = int(self.path(header.owner, header.clip).stat().st_mtime)
            self._index.forget([header.clip])
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
                self._index.forget(one.clip for one in batch)
                overwrite(self.path(owner, one.clip) for one in batch)
            self._index.tidy()

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; see ``Store``.

        A row that does not vouch for itself ends no clip: the next start asks its file first.
        """
        with self._available():
            overdue = self._index.overdue(now_s, self.orders.retention_days())
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
            rows = self._index.places()
            erased = {clip for _, clip in rows if self.orders.is_buried(clip)}
            self._index.forget(erased)
            there = {(owner, clip) for owner, clip in rows if clip not in erased}
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
        doubtful = self._index.doubtful()
        sound = [kept for kept in doubtful if self._agrees(kept, verify)]
        self._index.vouch(sound)
        gone = {kept.clip for kept in doubtful} - {kept.clip for kept in sound}
        self._index.forget(gone)
        if gone:
            _log.warning("%d rows of the index said what no file says; they are gone", len(gone))

    def _agrees(self, kept: Kept, verify: Callable[[bytes], Envelope]) -> bool:
        """Say whether a clip's file says of it what its row does."""
        try:
            path = self.path(kept.owner, kept.clip)
            data, arrived_s = read_envelope(path), path.stat().st_mtime
            header = verify(data).header
        except (OSError, BadEnvelope):
            return False
        counts_from_s = kept.expires_s - kept.ttl_s
        if counts_from_s != int(datetime.fromisoformat(header.t).timestamp()) and (
            counts_from_s != kept.received_s or abs(arrived_s - kept.received_s) > _ARRIVES_S
        ):
            return False  # it would go at another time than it should
        return (header.clip, header.owner, header.device, header.seq, header.t, header.ttl_s) == (
            *(kept.clip, kept.owner, kept.device, kept.seq, kept.t, kept.ttl_s),
        ) and kept.size_bytes == len(data)

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
        try:
            return self._index.add(envelope, data, received_s)
        except sqlite3.IntegrityError as error:
            raise Replayed("its id, its ciphertext or its number is another clip's") from error

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
