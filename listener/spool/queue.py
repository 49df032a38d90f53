"""The queue of the whole transport: a folder of envelopes that hear fills and send empties.

An envelope enters it complete and synced or not at all, and leaves it when the archive has
acknowledged it, or counted. One file is one envelope, ``<seq>.<owner>.<clip>.earmark``: who carries
it learns where it goes from its name and never looks inside.
"""

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from listener.config import SpoolSettings
from listener.errors import SpoolFull, Unavailable
from listener.spool import limits
from listener.spool.files import (
    NAME,
    QUARANTINE,
    SpoolEntry,
    SpoolFolder,
    open_directory,
    scan,
    write_envelope,
)
from listener.spool.ledger import BootClock, Counts, Ledger
from listener.spool.limits import select_expired, select_over_limit
from listener.storage import atomic

_log = logging.getLogger(__name__)


class Spool:
    """A bounded, durable queue of envelopes in one folder.

    Creating one touches nothing. Instances in several threads and processes may share a folder;
    one instance belongs to one thread.

    Args:
        folder: made with mode 0700 when it is first needed. One that is there and shared, see
            `belonging`, is a queue between two users.
        settings: the bounds.
        clock: how long the machine has run.
    """

    def __init__(
        self, folder: Path, settings: SpoolSettings, clock: BootClock | None = None
    ) -> None:
        self._folder = SpoolFolder(folder)
        self._settings = settings
        self._ledger = Ledger(clock)
        self._foreign = 0

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> SpoolEntry:
        """Take an envelope in: when this returns, it outlives a power cut.

        The oldest envelopes make room where a bound says so, but only once the new one is safe on
        the disk, so that a full disk costs nothing else.

        Args:
            clip: its id, a UUID in lower case.
            owner: whose it is, by the short name.
            seq: the device's counter, at most 12 digits.
            data: the envelope.

        Raises:
            SpoolFull: it could not be taken; it is counted as refused and nothing else changed.
            ValueError: the name that these make would not be a spool's.
        """
        entry = SpoolEntry(seq, owner, clip, len(data))
        if not NAME.fullmatch(entry.name):
            raise ValueError(f"{entry.name!r} is no name for a file in the spool")
        if len(data) > self._settings.longest_bytes:
            self._refuse()
            raise SpoolFull(
                f"a clip of {len(data)} bytes is larger than the whole spool",
                "raise spool.longest_bytes",
            )
        try:
            with self._folder.lock() as folder:
                with write_envelope(folder, entry, data, self._ledger.running_time_s(folder)):
                    self._make_room(folder, entry.size_bytes, 1)
                self._ledger.add(folder, Counts(spooled=1))
        except OSError as error:
            self._refuse()
            raise SpoolFull(
                f"cannot keep a clip in {self._folder.path}: {error.strerror or error}",
                "the clip is lost and counted; make room or mend the folder's permissions",
            ) from error
        return entry

    def waiting(self) -> list[SpoolEntry]:
        """Return every envelope in the spool, the oldest first.

        Raises:
            Unavailable: the folder cannot be read.
        """
        try:
            with self._folder.open() as folder:
                entries, foreign = scan(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(
                f"cannot look into the spool {self._folder.path}: {error.strerror}",
                "it must be a folder of its own, for this user",
            ) from error
        if foreign != self._foreign:
            # Their names are somebody else's words; the number is enough to go and look.
            _log.warning("%d foreign files in %s are left alone", foreign, self._folder.path)
            self._foreign = foreign
        return [entry for entry, _ in entries]

    def oldest(self) -> SpoolEntry | None:
        """Return the envelope that goes next, or None when the spool is empty.

        Raises:
            Unavailable: the folder cannot be read.
        """
        return next(iter(self.waiting()), None)

    def read(self, entry: SpoolEntry) -> bytes | None:
        """Return an envelope's bytes, or None when it is gone or no plain file any more.

        Raises:
            OSError: the disk does not give it back.
        """
        try:
            with self._folder.open() as folder:
                file = atomic.open_plain_file(entry.name, folder)
        except OSError:
            return None
        with file:
            return file.read(self._settings.longest_bytes)

    def remove(self, entry: SpoolEntry) -> bool:
        """Let go of an envelope that the archive has acknowledged.

        Returns:
            Whether it was still there. The folder is not synced: an envelope that a power cut
            brings back is sent and acknowledged once more, and nothing comes of it.
        """
        with self._folder.lock() as folder:
            try:
                os.unlink(entry.name, dir_fd=folder)
            except FileNotFoundError:
                return False
            self._ledger.add(folder, Counts(acked=1))
        return True

    def quarantine(self, entry: SpoolEntry) -> bool:
        """Set an envelope aside that cannot pass, and count it.

        The quarantine is bounded too: its own oldest go.

        Returns:
            Whether it was there.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._folder.lock() as folder, limits.open_quarantine(folder) as aside:
            if not limits.quarantine(folder, aside, entry):
                return False
            self._ledger.add(folder, Counts(quarantined=1))
            limits.trim_quarantine(aside, self._settings, self._ledger.running_time_s(folder))
        return True

    def delete_erased(self, clip: str, sha256: str) -> bool:
        """Let go of a clip in the quarantine that its owner erased, if it has these very bytes.

        Returns:
            Whether it was there. It is counted nowhere: it had left the queue already.

        Raises:
            OSError: the folder cannot be read or written.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            self._folder.lock() as folder,
            open_directory(QUARANTINE, folder) as aside,
        ):
            return limits.delete_erased(aside, clip, sha256, self._settings.longest_bytes)
        return False

    def restore(self) -> int:
        """Bring back all that is in quarantine; return how many came.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            with self._folder.lock() as folder, open_directory(QUARANTINE, folder) as aside:
                released = limits.restore(folder, aside)
                self._ledger.add(folder, Counts(released=released))
        except FileNotFoundError:
            return 0
        return released

    def trim(self) -> int:
        """Drop what is over a bound, age above all; return how many went.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._folder.lock() as folder:
            self._ledger.add(folder, Counts())
            return self._make_room(folder)

    def expire(self, longest_s: Mapping[str, float]) -> int:
        """Let go of what its owner lets wait no longer, in the quarantine too; return how many.

        Args:
            longest_s: by owner, in time that the machine was running.

        Raises:
            OSError: the folder cannot be written.
        """
        if not longest_s:
            return 0
        gone = 0
        with self._folder.lock() as folder, contextlib.ExitStack() as held:
            places = [folder]
            with contextlib.suppress(FileNotFoundError):
                places.append(held.enter_context(open_directory(QUARANTINE, folder)))
            lived_s = self._ledger.running_time_s(folder)
            for where in places:
                over = select_expired(scan(where)[0], longest_s, lived_s)
                gone += self._delete(folder, where, over, Counts(expired=len(over)))
        if gone:
            _log.info("%d clips waited for as long as their owner lets them", gone)
        return gone

    def counts(self) -> Counts:
        """Return what became of every envelope so far."""
        try:
            with self._folder.open() as folder:
                return self._ledger.counts(folder)
        except OSError:
            return self._ledger.counts(None)

    def _make_room(self, folder: int, size_bytes: int = 0, clips: int = 0) -> int:
        entries, lived_s = scan(folder)[0], self._ledger.running_time_s(folder)
        gone = select_over_limit(
            entries, self._settings, lived_s, size_bytes=size_bytes, clips=clips
        )
        if gone:
            _log.warning("the spool is over its bounds: dropped the %d oldest clips", len(gone))
        return self._delete(folder, folder, gone, Counts(dropped=len(gone)))

    def _delete(self, folder: int, where: int, gone: Sequence[SpoolEntry], counts: Counts) -> int:
        """Remove entries of ``where``, counted before they go; return how many."""
        if gone:
            self._ledger.add(folder, counts, durably=True)
        for entry in gone:
            os.unlink(entry.name, dir_fd=where)
        return len(gone)

    def _refuse(self) -> None:
        self._ledger.count_in_memory(Counts(refused=1))
        with contextlib.suppress(OSError), self._folder.lock() as folder:
            self._ledger.add(folder, Counts(), durably=True)
