"""The clip store: one ciphertext file for each clip, and an index of their headers.

The file is on disk before its row, and the row before the acknowledgement. After a crash in
between, ``repair`` creates the row from the file. The files are authoritative: each carries its
own signature and is verified again before it is sent. A row is used only with a valid MAC
(``records.RowMac``).
"""

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from listener.archive.blobs import BlobConflict
from listener.archive.elapsed_time import NO_WAIT, ArchiveTime, Shift, Wait
from listener.archive.files import FileBlobs, clip_path, find_envelope_file
from listener.archive.index import ClipIndex
from listener.archive.owner_state import ORDERS, OwnerState, Tombstone, make_tombstone
from listener.archive.quarantine import ErasedFile, Quarantine, QuarantinedFile
from listener.archive.records import ClipRecord, Erased, Replayed, RowMac
from listener.archive.repair import IndexRepair
from listener.envelope.format import Envelope
from listener.errors import DiskFull, Unavailable
from listener.storage.atomic import make_folder
from listener.storage.locations import CLIPS
from listener.storage.overwrite import overwrite
from listener.storage.reserve import find_reserve, with_reserve
from listener.storage.sqlite import translate_sqlite_errors

INDEX: Final = "index.sqlite"
_BATCH: Final = 500
_SMALLER: Final = 8
"""Divisor of the batch after a full disk."""

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
        self._path = folder / INDEX
        self._lock = threading.RLock()
        self.version = 0
        """Counts the changes, in this process, of the highest numbers accepted."""
        self._is_log_due = False
        make_folder(folder / CLIPS)
        self.reserve: Final = find_reserve(folder)
        self.owner_state = owner_state or OwnerState(folder.parent / ORDERS)
        self.quarantine: Final = Quarantine(folder)
        self.blobs: Final = FileBlobs(folder)
        self._row_mac = row_mac or RowMac()
        try:
            self._index = self.reserve.run(self._open)
        except BaseException:
            self.owner_state.close()
            raise
        self.reserve.refill()

    def _open(self) -> ClipIndex:
        with self._available():
            return ClipIndex(self._path, self._row_mac)

    def close(self) -> None:
        """Close the index and the owner state."""
        with self._lock:
            self._index.close()
            self.owner_state.close()

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
            is_new = not erased and not stored
            if is_new and self.owner_state.is_refused(header, wait.waited_s, now, wait.doubt_s):
                # The order lapses; the clip stays erased.
                self.owner_state.add_tombstones([make_tombstone(envelope, sha256)])
                erased = [(header.clip, sha256)]
            if erased:
                raise Erased("this clip was erased")
            try:
                is_new_file = self.blobs.put_new(header.owner, header.clip, data)
            except BlobConflict as error:
                raise Replayed(str(error)) from error
            self._add_sealer(header.owner, header.device)
            if not stored:
                self._stamp(self._index.add(envelope, data, received_s, int(wait.waited_s)))
                self.version += 1
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

    def clips_without_blob(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's rows without a file; see ``ClipStore``."""
        for record in self.clips(owner):
            if not self.blobs.exists(owner, record.clip):
                yield record.clip

    def find_holders(self, clip: str, owners: Iterable[str]) -> Iterator[str]:
        """Yield the owners, of those given, in whose folder a file has this id."""
        return (owner for owner in owners if self.blobs.exists(owner, clip))

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of an owner's newest clip from a device, by the index."""
        with self._available():
            return self._index.newest(owner, device)

    def highest_seq(self, dkey: str) -> int:
        """Return the highest number accepted of a device's key, erased clips included; or 0."""
        with self._available():
            return max(self._index.highest_seq(dkey), self.owner_state.highest_seq(dkey))

    def highest_seqs(self, dkeys: Sequence[str]) -> dict[str, int]:
        """Return ``highest_seq`` of each device key of which a number was accepted."""
        numbers = ((dkey, self.highest_seq(dkey)) for dkey in dkeys)
        return {dkey: seq for dkey, seq in numbers if seq}

    def changed_numbers(self) -> None:
        """Return None: any device's highest number may have changed; see ``ClipStore``."""

    def has_sealed(self, owner: str, device: str) -> bool:
        """Return True if a verified clip of an owner came from a device, erased or not."""
        return self.owner_state.is_sealer(self._row_mac.compute_sealer(owner, device))

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return a clip's owner and tombstone, by the index."""
        with self._available():
            return self._index.row(clip)

    @with_reserve
    def refresh_row(self, envelope: Envelope, data: bytes) -> ClipRecord:
        """Replace a clip's row by one from its verified file; return the row.

        Raises:
            Replayed: another row has its sequence number; the next ``repair`` resolves this.
        """
        header = envelope.header
        with self._available():
            received_s = self.blobs.arrived_s(header.owner, header.clip)
            self._index.delete([header.clip])
            return self._index.add(envelope, data, received_s)

    def load_time(self) -> bytes | None:
        """Return the stored state of the clock; see ``TimeStore``."""
        with self._available():
            return self._index.load_time()

    def save_time(
        self, state: bytes, start: int, *, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> None:
        """Store the state of the clock; see ``TimeStore``."""
        with self._available():
            if relabel_s:
                # First: without the rest it only makes the orders older, which refuses less.
                self.owner_state.shift_orders(relabel_s)
            for record in self._index.save_time(state.decode(), start, shifts, relabel_s):
                self._stamp(record)
            if relabel_s:
                self.quarantine.shift_arrivals(relabel_s)

    def newest_arrival(self) -> int | None:
        """Return the latest arrival of a clip, seconds since 1970; None without clips.

        Without clips it is that of a quarantined file, which has an age, too.
        """
        with self._available():
            newest_s = self._index.newest_arrival()
            return self.quarantine.newest_arrival() if newest_s is None else newest_s

    def newest_start(self) -> int:
        """Return the largest number of a start of the computer that a clip belongs to."""
        with self._available():
            return self._index.newest_start()

    def take_confirmation(self) -> bytes | None:
        """Return and remove a person's confirmation of the clock."""
        with self._available():
            return self._index.take_confirmation()

    def add_confirmation(self, reading: bytes) -> None:
        """Store a person's confirmation of the clock for the archive's process."""
        with self._available():
            self._index.add_confirmation(reading)

    def count_expired(self, now_s: int) -> int:
        """Return the number of clips whose retention has ended by ``now_s``."""
        with self._available():
            overdue = self._index.expired(now_s, self.owner_state.retention_days())
        return sum(map(len, overdue.values()))

    def refuse_span(
        self, owner: str, span: tuple[str, str], device: str | None, now: ArchiveTime
    ) -> None:
        """Refuse an owner's clips that were made before now; see ``OwnerState.refuse_span``."""
        with self._available():
            numbers = self._index.highest_numbers()
            self.owner_state.refuse_span(owner, span, device, numbers, now)

    def _stamp(self, record: ClipRecord) -> None:
        """Set a file's mtime to the start of its retention, so that a new row counts from it.

        The row counts. It is stored already, so a file of another user must not undo it.
        """
        began_s = record.expires_s - record.ttl_s
        with contextlib.suppress(OSError):
            os.utime(self.path(record.owner, record.clip), (began_s, began_s))

    def path(self, owner: str, clip: str) -> Path:
        """Return the path of a clip's file."""
        return clip_path(self._folder, owner, clip)

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips: write tombstones, delete rows, overwrite files, in this order.

        After a crash in between, ``repair`` erases the files that have a tombstone. On a full disk
        the reserve is given up, and fewer clips are erased at a time.
        """
        pending = list(tombstones)
        size = _BATCH
        with self._available():
            while pending:
                batch = pending[:size]
                try:
                    self._erase_batch(owner, batch)
                except DiskFull:
                    if size == 1:
                        raise
                    size = max(1, min(size, len(batch)) // _SMALLER)
                else:
                    del pending[:size]
            self._overwrite_log()
            # At once: another program may take what the clips leave.
            self.reserve.refill()

    @with_reserve
    def _erase_batch(self, owner: str, batch: list[Tombstone]) -> None:
        with self._available():
            self.owner_state.add_tombstones(batch)
            self._index.delete(tombstone.clip for tombstone in batch)
            self.blobs.erase((owner, tombstone.clip) for tombstone in batch)

    def erase_quarantined(
        self, owner: str, is_selected: Callable[[QuarantinedFile], bool]
    ) -> list[ErasedFile]:
        """Erase an owner's files in the quarantine; return them.

        Args:
            owner: name of the owner; a file whose header names another one is never erased.
            is_selected: returns True for the files to erase.
        """
        erased = []
        with self._available():
            for file in self.quarantine.files(owner):
                if file.home_folder == owner and is_selected(file):
                    self._destroy(file)
                    device = None if file.header is None else file.header.device
                    erased.append(ErasedFile(file.clip, device, file.sha256))
        return erased

    def quarantine_file(self, owner: str, clip: str) -> bool:
        """Move a clip's file that does not verify to the quarantine, unless a row names it.

        Returns:
            False if it has a row, or cannot be read or moved.
        """
        with self._available():
            if self._index.row(clip) is not None:
                return False
            try:
                self.quarantine.put(self.path(owner, clip))
            except OSError:
                return False
            return True

    def count_quarantined(self, owner: str | None = None) -> int:
        """Return the number of files in the quarantine, or of an owner's by unverified headers."""
        with self._available():
            return self.quarantine.count(owner)

    def _destroy(self, file: QuarantinedFile) -> None:
        """Overwrite a file of the quarantine, and write its tombstone.

        Its header is not verified, so its tombstone names no sequence number, and a clip that is
        stored under the same id gets none.
        """
        if self._index.row(file.clip) is None and not find_envelope_file(self._folder, file.clip):
            self.owner_state.add_tombstones([Tombstone(file.clip, file.sha256, file.sha256, "", 0)])
        overwrite([file.path])

    def expire(self, now_s: int) -> int:
        """Erase the clips whose retention has ended, quarantined ones too; see ``Store``.

        A row without a valid MAC expires no clip: ``repair`` verifies its file first.
        """
        with self._available():
            days = self.owner_state.retention_days()
            overdue = self._index.expired(now_s, days)
            for owner, tombstones in overdue.items():
                self.erase(owner, tombstones)
            number = sum(map(len, overdue.values()))
            for file in self.quarantine.files():
                if file.expires_s(days.get(file.owner)) <= now_s:
                    self._destroy(file)
                    number += 1
        return number

    def retry_overwriting_log(self) -> None:
        """Overwrite the index's log if a reader prevented it after the last erasure."""
        if self._is_log_due:
            with self._available():
                self._overwrite_log()

    def _overwrite_log(self) -> None:
        """Overwrite the index's log now, or note that this is due."""
        was_due, self._is_log_due = self._is_log_due, True
        try:
            with self._available():
                self._is_log_due = not self._index.overwrite_log()
        except Unavailable as error:
            _log.warning("cannot overwrite the index's log: %s", error)
        if self._is_log_due and not was_due:
            _log.warning("the index's log still contains erased rows; it is overwritten later")

    @with_reserve
    def repair(self, verify: Callable[[bytes], Envelope]) -> int:
        """Reconcile files and index after a crash, or after an older copy was restored.

        Unfinished files are overwritten. A file without a row gets one if it verifies; otherwise it
        is moved to the quarantine. A file in the quarantine that verifies by now, because its
        device or owner was added again, is moved back. Files and rows of erased clips are erased. A
        row without a valid MAC is confirmed by its file or deleted.

        Args:
            verify: verifies an envelope; raises ``BadEnvelope``.

        Returns:
            The number of rows created.
        """
        with self._available():
            created = IndexRepair(
                self._folder, self._index, self.owner_state, self.quarantine, verify
            ).repair()
            self.version += created
            for owner, device in self._index.sealers():  # also those of versions before the record
                self._add_sealer(owner, device)
            return created

    def _add_sealer(self, owner: str, device: str) -> None:
        self.owner_state.add_sealer(self._row_mac.compute_sealer(owner, device))

    @contextlib.contextmanager
    def _available(self) -> Iterator[None]:
        hint = f"move {INDEX} away; the archive rebuilds it at start"
        with translate_sqlite_errors(f"the archive {self._folder}", hint, self._path), self._lock:
            yield
