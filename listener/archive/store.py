"""Where sealed clips lie: one ciphertext file each, and an index of what their headers say.

The file is on the disk before its row, and the row before anybody is told. After a crash between
the two, ``repair`` makes the row from the file. The index is a convenience: the files carry their
own proof, and whoever hands one out verifies it again. A row tells nobody anything but with the
code that was made when its file was verified (``vouching``).
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from listener.archive.files import CLIPS, clip_path, overwrite, write_envelope_file
from listener.archive.index import ClipIndex
from listener.archive.owner_state import ORDERS, OwnerState, Tombstone
from listener.archive.records import ClipRecord, Erased, Replayed, RowMac
from listener.archive.repair import IndexRepair
from listener.envelope.format import Envelope
from listener.storage.atomic import make_folder
from listener.storage.sqlite import translate_sqlite_errors

_BATCH: Final = 500

_log = logging.getLogger(__name__)


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
        self, folder: Path, orders: OwnerState | None = None, voucher: RowMac | None = None
    ) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        make_folder(folder / CLIPS)
        self.orders = orders or OwnerState(folder.parent / ORDERS)
        with self._available():
            try:
                self._index = ClipIndex(folder / "index.sqlite", voucher or RowMac())
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
            found = self._index.find_conflicts(envelope)
            gone = [(one.clip, one.sha256) for one in self.orders.find_tombstones(envelope)]
            if any(one != (header.clip, sha256) for one in found + gone):
                raise Replayed("its id, its ciphertext or its number is another clip's")
            if gone or (not found and self.orders.is_refused(header)):
                raise Erased("this clip was erased")
            try:
                fresh = write_envelope_file(self.path(header.owner, header.clip), data)
            except FileExistsError as error:
                raise Replayed("another file lies in its place") from error
            if not found:
                self._index.add(envelope, data, received_s)
            elif fresh:
                _log.warning("the file of an archived clip was missing and is back")
            return not found

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
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
    ) -> list[ClipRecord]:
        """Return clips in the order of their time.

        Args:
            owner: only hers, if given.
            span: the first moment and the one after the last.
            device: only this one's, if given.
            after: ``<t>/<clip>`` of the one before the first.
            limit: how many at most.
        """
        rows = self.page_with_mac_check(owner, span, device=device, after=after, limit=limit)
        return [kept for kept, _ in rows]

    def page_with_mac_check(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = _BATCH,
    ) -> list[tuple[ClipRecord, bool]]:
        """Return clips as ``page`` does, each with whether its row vouches for itself."""
        with self._available():
            return self._index.page_with_mac_check(
                owner, span, device=device, after=after, limit=limit
            )

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of the newest clip of an owner that a device made, by the index."""
        with self._available():
            return self._index.newest(owner, device)

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return whose a clip is by the index, and what its tombstone would be."""
        with self._available():
            return self._index.row(clip)

    def refresh_row(self, envelope: Envelope, data: bytes) -> ClipRecord:
        """Make a clip's row anew from its file, which was verified just now; return it.

        Raises:
            Replayed: another row claims its number; the next start sorts that out.
        """
        header = envelope.header
        with self._available():
            received_s = int(self.path(header.owner, header.clip).stat().st_mtime)
            self._index.delete([header.clip])
            return self._index.add(envelope, data, received_s)

    def path(self, owner: str, clip: str) -> Path:
        """Return where a clip lies, or would."""
        return clip_path(self._folder, owner, clip)

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips for good: tombstones, rows, files, in this order.

        A crash in between leaves files that ``repair`` knows to be erased.
        """
        gone = list(tombstones)
        with self._available():
            for first in range(0, len(gone), _BATCH):
                batch = gone[first : first + _BATCH]
                self.orders.add_tombstones(batch)
                self._index.delete(one.clip for one in batch)
                overwrite(self.path(owner, one.clip) for one in batch)
            self._index.checkpoint()

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; see ``Store``.

        A row that does not vouch for itself ends no clip: ``repair`` asks its file first.
        """
        with self._available():
            overdue = self._index.expired(now_s, self.orders.retention_days())
            for owner, stones in overdue.items():
                self.erase(owner, stones)
        return sum(map(len, overdue.values()))

    def repair(self, verify: Callable[[bytes], Envelope]) -> int:
        """Bring files and index together again after a crash, or after a copy was put back.

        Unfinished files go; files without a row get one if they verify, else they are set aside in
        ``quarantine/``; files and rows of erased clips are erased. A row that does not vouch for
        itself is made anew from the file where it says that this lies, and goes where it cannot be.

        Args:
            verify: as the receiver's; raises ``BadEnvelope``.

        Returns:
            How many rows were made.
        """
        with self._available():
            return IndexRepair(self._folder, self._index, self.orders, verify).repair()

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "if its index is damaged, move index.sqlite away: it is made again from the clips"
        with translate_sqlite_errors(f"the archive {self._folder}", hint), self._lock:
            yield
