"""Files and index brought together again, after a crash or after a copy was put back.

A file carries its own proof, and a row only what was said of it: where they differ, the file is
right if it verifies.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from listener.archive.files import CLIPS, SUFFIX, clip_path, overwrite, read_envelope_file
from listener.archive.index import ClipIndex
from listener.archive.owner_state import OwnerState
from listener.archive.records import ClipRecord, Replayed
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope
from listener.storage.atomic import PART, make_folder

_ARRIVES_S: Final = 3600

_log = logging.getLogger(__name__)


class IndexRepair:
    """One look through an archive. Its user holds the lock, and turns errors of the disk into ours.

    Args:
        folder: of the archive.
        index: its rows.
        orders: what was erased.
        verify: as the receiver's; raises ``BadEnvelope``.
    """

    def __init__(
        self,
        folder: Path,
        index: ClipIndex,
        orders: OwnerState,
        verify: Callable[[bytes], Envelope],
    ) -> None:
        self._folder = folder
        self._index = index
        self._orders = orders
        self._verify = verify

    def repair(self) -> int:
        """Do it; see ``FileStore.repair``. Return how many rows were made."""
        made = 0
        self._check_unverified_rows()
        rows = self._index.locations()
        erased = {clip for _, clip in rows if self._orders.is_erased(clip)}
        self._index.delete(erased)
        there = {(owner, clip) for owner, clip in rows if clip not in erased}
        present = set()
        for path in sorted((self._folder / CLIPS).glob("*/*")):
            if path.suffix == PART:
                path.unlink()
            elif path.suffix == SUFFIX and self._orders.is_erased(path.stem):
                overwrite([path])
            elif path.suffix == SUFFIX and (path.parent.name, path.stem) not in there:
                made += self._index_file(path)
            else:
                present.add((path.parent.name, path.stem))
        if erased:
            _log.warning("%d erased clips had come back and are gone again", len(erased))
        if there - present:
            _log.warning("the files of %d archived clips are missing", len(there - present))
        return made

    def _check_unverified_rows(self) -> None:
        """Ask the files of rows that do not vouch for themselves."""
        doubtful = self._index.unverified_rows()
        sound = [kept for kept in doubtful if self._matches_file(kept)]
        self._index.write_macs(sound)
        gone = {kept.clip for kept in doubtful} - {kept.clip for kept in sound}
        self._index.delete(gone)
        if gone:
            _log.warning("%d rows of the index said what no file says; they are gone", len(gone))

    def _matches_file(self, kept: ClipRecord) -> bool:
        """Say whether a clip's file says of it what its row does."""
        try:
            path = clip_path(self._folder, kept.owner, kept.clip)
            data, arrived_s = read_envelope_file(path), path.stat().st_mtime
            header = self._verify(data).header
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

    def _index_file(self, path: Path) -> bool:
        data = read_envelope_file(path)
        try:
            envelope = self._verify(data)
            self._check_place(envelope, path)
            self._index.add(envelope, data, int(path.stat().st_mtime))
        except (BadEnvelope, Replayed) as error:
            _log.warning("a file in the archive is no clip of it and is set aside: %s", error)
            make_folder(self._folder / "quarantine")
            path.replace(self._folder / "quarantine" / path.name)
            return False
        return True

    def _check_place(self, envelope: Envelope, path: Path) -> None:
        if clip_path(self._folder, envelope.header.owner, envelope.header.clip) != path:
            raise BadEnvelope("it lies where another belongs")
