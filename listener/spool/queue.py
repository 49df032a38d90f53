"""Durable queue of envelopes: a folder that hear fills and send empties.

An envelope is stored complete and synced or not at all. It leaves the queue when the archive has
acknowledged it; every other removal is counted. One file is one envelope, named
``<seq>.<owner>.<clip>.earmark``: send reads its destination from the name and does not parse it.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from listener.config import SpoolSettings
from listener.errors import SpoolFull, Unavailable
from listener.quantities import quantity
from listener.spool import limits
from listener.spool.files import (
    NAME,
    QUARANTINE,
    SUSPENDED,
    SpoolEntry,
    SpoolFolder,
    open_directory,
    scan,
    write_envelope,
)
from listener.spool.ledger import BootClock, Counts, Ledger
from listener.spool.limits import select_expired, select_over_limit
from listener.spool.replays import MOST_REFUSALS, count_replay, forget_replay, read_replays
from listener.storage import atomic

_LONGEST_REASON_BYTES: Final = 32

_log = logging.getLogger(__name__)


class Spool:
    """Bounded, durable queue of envelopes in one folder.

    Constructing it touches no file. Instances in several threads and processes may share a folder;
    one instance belongs to one thread.

    Args:
        folder: created with mode 0700 when first needed. An existing setgid folder is a queue
            between two users.
        settings: the limits.
        clock: uptime of the machine.
        patience_s: longest wait for another process that holds the folder's lock, in seconds.
    """

    def __init__(
        self,
        folder: Path,
        settings: SpoolSettings,
        clock: BootClock | None = None,
        patience_s: float = atomic.LOCK_PATIENCE_S,
    ) -> None:
        self._folder = SpoolFolder(folder, patience_s)
        self._settings = settings
        self._ledger = Ledger(clock)
        self._foreign = 0

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> SpoolEntry:
        """Store an envelope durably.

        The oldest envelopes over a limit are dropped, but only after the new one is on the disk, so
        that a full disk loses nothing else.

        Args:
            clip: its id, a UUID in lower case.
            owner: short name of its owner.
            seq: the device's counter, at most 12 digits.
            data: the envelope.

        Raises:
            SpoolFull: it could not be stored; it is counted as refused and nothing else changed.
            ValueError: the arguments do not make a valid file name.
        """
        entry = SpoolEntry(seq, owner, clip, len(data))
        if not NAME.fullmatch(entry.name):
            raise ValueError(f"{entry.name!r} is not a valid name of a spool file")
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
                f"cannot store a clip in {self._folder.path}: {error.strerror or error}",
                "free some space or fix the folder's permissions; the clip is lost and counted",
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
                f"cannot read the spool {self._folder.path}: {error.strerror}",
                "make it a directory that this user can read",
            ) from error
        if foreign != self._foreign:
            # Their names are untrusted text; the number is enough.
            _log.warning("ignored %d foreign files in %s", foreign, self._folder.path)
            self._foreign = foreign
        return [entry for entry, _ in entries]

    def oldest(self) -> SpoolEntry | None:
        """Return the oldest envelope, or None if the spool is empty.

        Raises:
            Unavailable: the folder cannot be read.
        """
        return next(iter(self.waiting()), None)

    def read(self, entry: SpoolEntry) -> bytes | None:
        """Return an envelope's bytes, or None if it is missing or not a regular file.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with self._folder.open() as folder:
                file = atomic.open_plain_file(entry.name, folder)
        except OSError:
            return None
        with file:
            return file.read(self._settings.longest_bytes)

    def waited_s(self, entry: SpoolEntry) -> int:
        """Return the observed running time since an envelope was stored, in whole seconds.

        It is 0 for an envelope that is missing or whose time cannot be read.
        """
        try:
            with self._folder.open() as folder:
                stamp_s = os.stat(entry.name, dir_fd=folder, follow_symlinks=False).st_mtime
                return max(0, int(self._ledger.running_time_s(folder) - stamp_s))
        except OSError:
            return 0

    def remove(self, entry: SpoolEntry, *, erased: bool = False) -> bool:
        """Remove an envelope that the archive has acknowledged.

        Args:
            entry: the envelope.
            erased: whether the archive erased it on arrival, by its owner's order.

        Returns:
            True if it was there. The folder is not synced: an envelope that a power cut restores is
            sent and acknowledged once more, without effect.
        """
        with self._folder.lock() as folder:
            try:
                os.unlink(entry.name, dir_fd=folder)
            except FileNotFoundError:
                return False
            self._ledger.add(folder, Counts(erased=1) if erased else Counts(acked=1))
            if erased:
                forget_replay(folder, entry.clip)
        return True

    def quarantine(self, entry: SpoolEntry) -> bool:
        """Move an envelope that cannot be delivered to the quarantine, and count it.

        The quarantine has limits too: its oldest envelopes are dropped, and counted before.

        Returns:
            True if it was there.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._folder.lock() as folder, limits.open_quarantine(folder) as aside:
            if not limits.quarantine(folder, aside, entry):
                return False
            self._ledger.add(folder, Counts(quarantined=1))
            self._trim_quarantine(folder, aside)
        return True

    def set_suspended(self, reason: str) -> None:
        """Record why send publishes no clips, for doctor and the next start of send.

        Args:
            reason: one word; empty if it publishes.

        Raises:
            Unavailable: the folder cannot be written.
        """
        path = self._folder.path / SUSPENDED
        with atomic.translate_os_errors(path):
            if not reason:
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_shared = path.parent.stat().st_mode & stat.S_ISGID
        atomic.write_atomic(path, reason.encode("ascii"), 0o640 if is_shared else 0o600)

    def suspended(self) -> str:
        """Return why send publishes no clips, one word; empty if it publishes."""
        try:
            with self._folder.open() as folder:
                data = atomic.read_plain_file(SUSPENDED, _LONGEST_REASON_BYTES, folder)
            reason = data.decode("ascii", "replace")
        except OSError:
            return ""
        return reason if reason.isalpha() else ""

    def delete_erased(self, clip: str, sha256: str) -> bool:
        """Delete a quarantined clip that its owner erased, if it has this SHA-256.

        Returns:
            True if it was there; it is counted as erased.

        Raises:
            OSError: the folder cannot be read or written.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            self._folder.lock() as folder,
            open_directory(QUARANTINE, folder) as aside,
        ):
            if limits.delete_erased(aside, clip, sha256, self._settings.longest_bytes):
                self._ledger.add(folder, Counts(erased=1))
                forget_replay(folder, clip)
                return True
        return False

    def count_replay(self, clip: str) -> None:
        """Count that the archive refused a clip because another one has its number.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._folder.lock() as folder:
            count_replay(folder, clip)

    def quarantined(self) -> dict[str, int]:
        """Return, by id of each quarantined clip, how often it was refused as a replay.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            with self._folder.open() as folder, open_directory(QUARANTINE, folder) as aside:
                replays = read_replays(folder)
                return {entry.clip: replays.get(entry.clip, 0) for entry, _ in scan(aside)[0]}
        except FileNotFoundError:
            return {}

    def restore(self) -> int:
        """Move quarantined envelopes back to the queue; return their number.

        A clip that was refused twice because another clip has its number stays: it would be refused
        again each time.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            with self._folder.lock() as folder, open_directory(QUARANTINE, folder) as aside:
                refused = read_replays(folder)
                stuck = {clip for clip, times in refused.items() if times >= MOST_REFUSALS}
                released = limits.restore(folder, aside, stuck)
                self._ledger.add(folder, Counts(released=released))
        except FileNotFoundError:
            return 0
        return released

    def trim(self) -> int:
        """Drop envelopes over a limit, mostly of age, quarantined ones too; return their number.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._folder.lock() as folder:
            self._ledger.add(folder, Counts())
            gone = self._make_room(folder)
            with (
                contextlib.suppress(FileNotFoundError),
                open_directory(QUARANTINE, folder) as aside,
            ):
                gone += self._trim_quarantine(folder, aside)
            return gone

    def expire(self, longest_s: Mapping[str, float]) -> int:
        """Delete envelopes over their owner's limit, quarantined ones too; return their number.

        Args:
            longest_s: seconds of the machine's running time, by owner.

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
            _log.info("deleted %s beyond their owner's retention limit", quantity(gone, "clip"))
        return gone

    def counts(self) -> Counts:
        """Return the counts of all envelopes so far, by outcome."""
        try:
            with self._folder.open() as folder:
                return self._ledger.counts(folder)
        except OSError:
            return self._ledger.counts(None)

    def _make_room(self, folder: int, size_bytes: int = 0, clips: int = 0) -> int:
        entries, lived_s = scan(folder)[0], self._ledger.running_time_s(folder)
        for entry, stamp_s in entries:
            if stamp_s > lived_s:
                # The ledger was lost, or the file is a copy: its age counts from now. Only the
                # file's owner may change the time.
                with contextlib.suppress(OSError):
                    os.utime(entry.name, (lived_s, lived_s), dir_fd=folder)
        gone = select_over_limit(
            entries, self._settings, lived_s, size_bytes=size_bytes, clips=clips
        )
        if gone:
            _log.warning("the spool is over its limits: dropped the %d oldest clips", len(gone))
        return self._delete(folder, folder, gone, Counts(dropped=len(gone)))

    def _trim_quarantine(self, folder: int, aside: int) -> int:
        lived_s = self._ledger.running_time_s(folder)
        gone = limits.select_over_quarantine_limit(aside, self._settings, lived_s)
        if gone:
            _log.warning(
                "the quarantine is over its limits: dropped %s", quantity(len(gone), "clip")
            )
        return self._delete(folder, aside, gone, Counts(dropped=len(gone)))

    def _delete(self, folder: int, where: int, gone: Sequence[SpoolEntry], counts: Counts) -> int:
        """Count entries of ``where`` and then delete them; return their number."""
        if gone:
            self._ledger.add(folder, counts, durably=True)
        for entry in gone:
            os.unlink(entry.name, dir_fd=where)
        return len(gone)

    def _refuse(self) -> None:
        self._ledger.count_in_memory(Counts(refused=1))
        # Without a wait: it has been waited for, and the next count writes this one.
        with contextlib.suppress(OSError), self._folder.lock(0) as folder:
            self._ledger.add(folder, Counts(), durably=True)
