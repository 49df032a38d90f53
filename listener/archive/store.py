"""The clip store: one ciphertext file for each clip, and an index of their headers.

The file is on disk before its row, and the row before the acknowledgement. After a crash in
between, ``repair`` creates the row from the file. The files are authoritative: each carries its
own signature and is verified again before it is sent. A row is used only with a valid MAC
(``records.RowMac``).
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
    """Store with files below ``clips/<owner>/`` and an SQLite index. Safe for several threads.

    Args:
        folder: the archive's folder, created if missing.
        owner_state: tombstones and owners' settings; by default those beside the folder. Closed
            with the store.
        row_mac: MAC of the rows; keyed where the archive serves.

    Raises:
        Unavailable: from each method, if folder or index cannot be used.
    """

    def __init__(
        self, folder: Path, owner_state: OwnerState | None = None, row_mac: RowMac | None = None
    ) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._row_mac = row_mac or RowMac()
        make_folder(folder / CLIPS)
        self.owner_state = owner_state or OwnerState(folder.parent / ORDERS)
        with self._available():
            try:
                self._index = ClipIndex(folder / "index.sqlite", self._row_mac)
            except BaseException:
                self.owner_state.close()
                raise

    def close(self) -> None:
        """Close the index and the owner state."""
        with self._lock:
            self._index.close()
            self.owner_state.close()

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Store a verified envelope durably; see ``Store``."""
        sha256 = hashlib.sha256(data).hexdigest()
        header = envelope.header
        with self._available():
            stored = self._index.find_conflicts(envelope)
            erased = [
                (tombstone.clip, tombstone.sha256)
                for tombstone in self.owner_state.find_tombstones(envelope)
            ]
            if any(other != (header.clip, sha256) for other in stored + erased):
                raise Replayed("another clip has its id, ciphertext or sequence number")
            if erased or (not stored and self.owner_state.is_refused(header)):
                raise Erased("this clip was erased")
            try:
                is_new_file = write_envelope_file(self.path(header.owner, header.clip), data)
            except FileExistsError as error:
                raise Replayed("another file has its path") from error
            self._add_sealer(header.owner, header.device)
            if not stored:
                self._index.add(envelope, data, received_s)
            elif is_new_file:
                _log.warning("restored the missing file of an archived clip")
            return not stored

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        """Yield the stored clips; see ``Store``."""
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
        """Return clips in order of time.

        Args:
            owner: only this owner's clips, if given.
            span: first time (inclusive) and last time (exclusive), as in envelope headers.
            device: only this device's clips, if given.
            after: ``<t>/<clip>`` of the clip before the first one.
            limit: largest number of clips.
        """
        rows = self.page_with_mac_check(owner, span, device=device, after=after, limit=limit)
        return [record for record, _ in rows]

    def page_with_mac_check(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = _BATCH,
    ) -> list[tuple[ClipRecord, bool]]:
        """Return clips as ``page`` does, each with True if its row has a valid MAC."""
        with self._available():
            return self._index.page_with_mac_check(
                owner, span, device=device, after=after, limit=limit
            )

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of an owner's newest clip from a device, by the index."""
        with self._available():
            return self._index.newest(owner, device)

    def has_sealed(self, owner: str, device: str) -> bool:
        """Return True if a verified clip of an owner came from a device, erased or not."""
        return self.owner_state.is_sealer(self._row_mac.compute_sealer(owner, device))

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return a clip's owner and tombstone, by the index."""
        with self._available():
            return self._index.row(clip)

    def refresh_row(self, envelope: Envelope, data: bytes) -> ClipRecord:
        """Replace a clip's row by one from its verified file; return the row.

        Raises:
            Replayed: another row has its sequence number; the next ``repair`` resolves this.
        """
        header = envelope.header
        with self._available():
            received_s = int(self.path(header.owner, header.clip).stat().st_mtime)
            self._index.delete([header.clip])
            return self._index.add(envelope, data, received_s)

    def path(self, owner: str, clip: str) -> Path:
        """Return the path of a clip's file."""
        return clip_path(self._folder, owner, clip)

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips: write tombstones, delete rows, overwrite files, in this order.

        After a crash in between, ``repair`` erases the files that have a tombstone.
        """
        pending = list(tombstones)
        with self._available():
            for first in range(0, len(pending), _BATCH):
                batch = pending[first : first + _BATCH]
                self.owner_state.add_tombstones(batch)
                self._index.delete(tombstone.clip for tombstone in batch)
                overwrite(self.path(owner, tombstone.clip) for tombstone in batch)
            self._index.checkpoint()

    def expire(self, now_s: int) -> int:
        """Erase the clips whose retention has ended; see ``Store``.

        A row without a valid MAC expires no clip: ``repair`` verifies its file first.
        """
        with self._available():
            overdue = self._index.expired(now_s, self.owner_state.retention_days())
            for owner, tombstones in overdue.items():
                self.erase(owner, tombstones)
        return sum(map(len, overdue.values()))

    def repair(self, verify: Callable[[bytes], Envelope]) -> int:
        """Reconcile files and index after a crash, or after an older copy was restored.

        Unfinished files are deleted. A file without a row gets one if it verifies; otherwise it is
        moved to ``quarantine/``. Files and rows of erased clips are erased. A row without a valid
        MAC is confirmed by its file or deleted.

        Args:
            verify: verifies an envelope; raises ``BadEnvelope``.

        Returns:
            The number of rows created.
        """
        with self._available():
            created = IndexRepair(self._folder, self._index, self.owner_state, verify).repair()
            for owner, device in self._index.sealers():  # also those of versions before the record
                self._add_sealer(owner, device)
            return created

    def _add_sealer(self, owner: str, device: str) -> None:
        self.owner_state.add_sealer(self._row_mac.compute_sealer(owner, device))

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = "if its index is damaged, move index.sqlite away; the archive rebuilds it at start"
        with translate_sqlite_errors(f"the archive {self._folder}", hint), self._lock:
            yield
