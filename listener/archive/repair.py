"""Reconciliation of files and index, after a crash or after an older copy was restored.

A file carries its own signature, a row only a copy of its header. Where they differ, a file that
verifies is right.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from listener.archive.files import SUFFIX, clip_path, read_envelope_file
from listener.archive.index import PLAUSIBLE_S, ClipIndex
from listener.archive.owner_state import OwnerState
from listener.archive.quarantine import Quarantine, QuarantinedFile
from listener.archive.records import ClipRecord, Replayed
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope
from listener.quantities import quantity
from listener.storage.atomic import PART, make_folder, sync_folder
from listener.storage.locations import CLIPS, walk
from listener.storage.overwrite import overwrite

_ARRIVAL_TOLERANCE_S: Final = 3600
"""Largest difference between the start of a row's retention and its file's mtime."""

_log = logging.getLogger(__name__)


class IndexRepair:
    """One repair of an archive. The caller holds the lock and translates errors of disk and SQLite.

    Args:
        folder: the archive's folder.
        index: its index.
        owner_state: its tombstones.
        quarantine: its files that do not verify.
        verify: verifies an envelope; raises ``BadEnvelope``.
    """

    def __init__(
        self,
        folder: Path,
        index: ClipIndex,
        owner_state: OwnerState,
        quarantine: Quarantine,
        verify: Callable[[bytes], Envelope],
    ) -> None:
        self._folder = folder
        self._index = index
        self._owner_state = owner_state
        self._quarantine = quarantine
        self._verify = verify

    def repair(self) -> int:
        """Repair; see ``FileStore.repair``. Return the number of rows created."""
        self._check_unverified_rows()
        created = self._check_quarantine()
        rows = self._index.locations()
        erased = {clip for _, clip in rows if self._owner_state.is_erased(clip)}
        self._index.delete(erased)
        indexed = {(owner, clip) for owner, clip in rows if clip not in erased}
        present = set()
        for path in sorted(walk(self._folder, CLIPS)):
            is_clip = path.suffix == SUFFIX
            if path.suffix == PART or (is_clip and self._owner_state.is_erased(path.stem)):
                overwrite([path])
            elif is_clip and (path.parent.name, path.stem) not in indexed:
                created += self._index_file(path)
            else:
                present.add((path.parent.name, path.stem))
        if erased:
            _log.warning("%d erased clips had returned and were erased again", len(erased))
        if missing := indexed - present:
            _log.warning("the files of %d archived clips are missing", len(missing))
        return created

    def _check_unverified_rows(self) -> None:
        """Compare rows without a valid MAC with their files; delete those that differ."""
        unverified = self._index.unverified_rows()
        confirmed = [record for record in unverified if self._matches_file(record)]
        self._index.write_macs(confirmed)
        wrong = {record.clip for record in unverified} - {record.clip for record in confirmed}
        self._index.delete(wrong)
        if wrong:
            _log.warning("deleted %d index rows that did not match their files", len(wrong))

    def _matches_file(self, record: ClipRecord) -> bool:
        """Return True if a clip's file verifies and agrees with its row."""
        try:
            path = clip_path(self._folder, record.owner, record.clip)
            data, arrived_s = read_envelope_file(path), path.stat().st_mtime
            header = self._verify(data).header
        except (OSError, BadEnvelope):
            return False
        counts_from_s = record.expires_s - record.ttl_s
        taken_s = int(datetime.fromisoformat(header.t).timestamp())
        # Files and rows of earlier versions: the mtime is the arrival, and retention may count
        # from a plausible signed time.
        is_signed_time = counts_from_s == taken_s and -PLAUSIBLE_S <= taken_s - arrived_s <= 0
        if abs(counts_from_s - arrived_s) > _ARRIVAL_TOLERANCE_S and not is_signed_time:
            return False  # it would expire at a wrong time
        return (header.clip, header.owner, header.device, header.seq, header.t, header.ttl_s) == (
            *(record.clip, record.owner, record.device, record.seq, record.t, record.ttl_s),
        ) and record.size_bytes == len(data)

    def _check_quarantine(self) -> int:
        """Erase files that have a tombstone, and move back those that verify by now.

        Returns:
            The number of files moved back.
        """
        if moved := self._quarantine.sort():
            _log.info(
                "moved %s in the quarantine to their owners' folders", quantity(moved, "file")
            )
        restored = 0
        for file in self._quarantine.files():
            if self._owner_state.is_erased(file.clip):
                overwrite([file.path])
            else:
                restored += self._restore(file)
        if restored:
            _log.info("moved %s back from the quarantine: valid now", quantity(restored, "file"))
        return restored

    def _restore(self, file: QuarantinedFile) -> bool:
        try:
            envelope = self._verify(file.data)
        except BadEnvelope:
            return False
        target = clip_path(self._folder, envelope.header.owner, envelope.header.clip)
        if target.name != file.path.name or target.exists():
            return False
        if (
            self._index.find_conflicts(envelope)
            or self._owner_state.find_tombstones(envelope)
            or self._owner_state.is_refused(envelope.header)
        ):
            return False
        make_folder(target.parent)
        file.path.rename(target)
        sync_folder(target.parent)
        sync_folder(file.path.parent)
        self._index.add(envelope, file.data, int(file.arrived_s))
        return True

    def _index_file(self, path: Path) -> bool:
        try:
            data = read_envelope_file(path)
        except OSError as error:
            # A link, a pipe or a damaged sector must not keep the archive from its other clips.
            _log.warning("cannot read a file in the archive: %s", error.strerror)
            return False
        try:
            envelope = self._verify(data)
            self._check_place(envelope, path)
            self._index.add(envelope, data, int(path.stat().st_mtime))
        except (BadEnvelope, Replayed) as error:
            _log.warning("moved a file that is not a clip of this archive to quarantine: %s", error)
            self._quarantine.put(path)
            return False
        return True

    def _check_place(self, envelope: Envelope, path: Path) -> None:
        if clip_path(self._folder, envelope.header.owner, envelope.header.clip) != path:
            raise BadEnvelope("its path differs from its header")
