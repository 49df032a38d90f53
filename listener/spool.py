"""The border: a folder of sealed envelopes that hear fills and send empties.

The spool is the queue of the whole transport. An envelope enters it complete and synced or not at
all, and leaves it when the archive has acknowledged it, or counted. One file is one envelope,
``<seq>.<owner>.<clip>.earmark``: who carries it learns where it goes from its name and never looks
inside. Whole operations exclude each other by a lock on the folder, across processes too.

Two small files lie here besides, because both may reach them: what owners chose, and what they say
of their next keys.

Age is counted in time that the machine was seen running, not by the wall clock: a computer without
a battery-backed clock is years off until it finds a time server, and a spool that believed it would
throw everything away. Each file's modification time holds that running time (so ``ls`` shows 1970).
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from listener import belonging
from listener.config import SpoolSettings
from listener.entries import NAME, PART, QUARANTINE, Entry, directory, scan
from listener.errors import SpoolFull, Unavailable
from listener.ledger import Clock, Counts, Ledger

MOST_SEQ: Final = 10**12 - 1

_NOT_TO_CHANGE: Final = 0o640  # whoever shares the spool may read an envelope, and remove it
_QUARANTINE_SHARE: Final = 4  # the quarantine may hold a quarter of what the spool may

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

    def __init__(self, folder: Path, settings: SpoolSettings, clock: Clock | None = None) -> None:
        self._folder = folder
        self._settings = settings
        self._ledger = Ledger(clock)
        self._swept = False
        self._foreign = 0

    def put(self, clip: str, owner: str, seq: int, data: bytes) -> Entry:
        """Take an envelope in: when this returns, it outlives a power cut.

        The oldest envelopes make room where a bound says so, but only once the new one is safe on
        the disk, so that a full disk costs nothing else.

        Args:
            clip: its id, a UUID in lower case.
            owner: whose it is, by the short name.
            seq: the device's counter, 0 to ``MOST_SEQ``.
            data: the envelope.

        Raises:
            SpoolFull: it could not be taken; it is counted as refused and nothing else changed.
            ValueError: the name that these make would not be a spool's.
        """
        entry = Entry(seq, owner, clip, len(data))
        if not NAME.fullmatch(entry.name):
            raise ValueError(f"{entry.name!r} is no name for a file in the spool")
        if len(data) > self._settings.longest_bytes:
            self._refuse()
            raise SpoolFull(
                f"a clip of {len(data)} bytes is larger than the whole spool",
                "raise spool.longest_bytes",
            )
        try:
            with self._locked() as folder:
                self._write(folder, entry, data)
        except OSError as error:
            self._refuse()
            raise SpoolFull(
                f"cannot keep a clip in {self._folder}: {error.strerror or error}",
                "the clip is lost and counted; make room or mend the folder's permissions",
            ) from error
        return entry

    def waiting(self) -> list[Entry]:
        """Return every envelope in the spool, the oldest first.

        Raises:
            Unavailable: the folder cannot be read.
        """
        try:
            with self._opened() as folder:
                found, foreign = scan(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(
                f"cannot look into the spool {self._folder}: {error.strerror}",
                "it must be a folder of its own, for this user",
            ) from error
        if foreign != self._foreign:
            # Their names are somebody else's words; the number is enough to go and look.
            _log.warning("%d foreign files in %s are left alone", foreign, self._folder)
            self._foreign = foreign
        return [entry for entry, _ in found]

    def oldest(self) -> Entry | None:
        """Return the envelope that goes next, or None when the spool is empty.

        Raises:
            Unavailable: the folder cannot be read.
        """
        return next(iter(self.waiting()), None)

    def read(self, entry: Entry) -> bytes | None:
        """Return an envelope's bytes, or None when it is gone or no plain file any more.

        Raises:
            OSError: the disk does not give it back.
        """
        try:
            with self._opened() as folder:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                handle = os.open(entry.name, flags, dir_fd=folder)
        except OSError:
            return None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            return file.read(self._settings.longest_bytes)

    def remove(self, entry: Entry) -> bool:
        """Let go of an envelope that the archive has acknowledged.

        Returns:
            Whether it was still there. The folder is not synced: an envelope that a power cut
            brings back is sent and acknowledged once more, and nothing comes of it.
        """
        with self._locked() as folder:
            try:
                os.unlink(entry.name, dir_fd=folder)
            except FileNotFoundError:
                return False
            self._ledger.add(folder, Counts(acked=1))
        return True

    def quarantine(self, entry: Entry) -> bool:
        """Set an envelope aside that cannot pass, and count it.

        The quarantine is bounded too: its own oldest go.

        Returns:
            Whether it was there.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._locked() as folder:
            with contextlib.suppress(FileExistsError):
                os.mkdir(QUARANTINE, 0o700, dir_fd=folder)
                with directory(QUARANTINE, folder) as fresh:
                    belonging.hand_over(fresh, folder)
                    # The setgid bit came with the folder.
                    shared = stat.S_IMODE(os.fstat(fresh).st_mode) & ~0o777
                    os.fchmod(fresh, shared | belonging.shared_mode(folder, 0o700))
            with directory(QUARANTINE, folder) as aside:
                try:
                    os.rename(entry.name, entry.name, src_dir_fd=folder, dst_dir_fd=aside)
                except FileNotFoundError:
                    return False
                self._ledger.add(folder, Counts(quarantined=1))
                for old in self._overdue(folder, aside, share=_QUARANTINE_SHARE):
                    os.unlink(old.name, dir_fd=aside)
        return True

    def bury(self, clip: str, sha256: str) -> bool:
        """Let go of a clip in the quarantine that its owner erased, if it has these very bytes.

        Returns:
            Whether it was there. It is counted nowhere: it had left the queue already.

        Raises:
            OSError: the folder cannot be read or written.
        """
        with (
            contextlib.suppress(FileNotFoundError),
            self._locked() as folder,
            directory(QUARANTINE, folder) as aside,
        ):
            for entry, _ in scan(aside)[0]:
                if entry.clip != clip:
                    continue
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                with os.fdopen(os.open(entry.name, flags, dir_fd=aside), "rb") as file:
                    data = file.read(self._settings.longest_bytes)
                if hashlib.sha256(data).hexdigest() == sha256:
                    os.unlink(entry.name, dir_fd=aside)
                    return True
        return False

    def release(self) -> int:
        """Bring back all that is in quarantine; return how many came.

        Raises:
            OSError: the folder cannot be written.
        """
        released = 0
        try:
            with self._locked() as folder, directory(QUARANTINE, folder) as aside:
                for entry, _ in scan(aside)[0]:
                    os.rename(entry.name, entry.name, src_dir_fd=aside, dst_dir_fd=folder)
                    released += 1
                self._ledger.add(folder, Counts(released=released))
        except FileNotFoundError:
            return 0
        return released

    def trim(self) -> int:
        """Drop what is over a bound, age above all; return how many went.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._locked() as folder:
            self._ledger.add(folder, Counts())
            return self._make_room(folder)

    def expire(self, longest_s: Mapping[str, float]) -> int:
        """Let go of what its owner lets wait no longer, in the quarantine too; count it.

        Args:
            longest_s: by owner, in time that the machine was running.

        Returns:
            How many went.

        Raises:
            OSError: the folder cannot be written.
        """
        if not longest_s:
            return 0
        gone = 0
        with self._locked() as folder:
            lived_s = self._ledger.lived_s(folder)
            gone += self._expire(folder, folder, lived_s, longest_s)
            with contextlib.suppress(FileNotFoundError), directory(QUARANTINE, folder) as aside:
                gone += self._expire(folder, aside, lived_s, longest_s)
        return gone

    def counts(self) -> Counts:
        """Return what became of every envelope so far."""
        try:
            with self._opened() as folder:
                return self._ledger.counts(folder)
        except OSError:
            return self._ledger.counts(None)

    def _write(self, folder: int, entry: Entry, data: bytes) -> None:
        part = entry.name + PART
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(part, flags, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                lived_s = self._ledger.lived_s(folder)
                os.utime(handle, (lived_s, lived_s))
                belonging.hand_over(handle, folder)
                os.fchmod(handle, belonging.shared_mode(folder, 0o600) & _NOT_TO_CHANGE)
                os.fsync(handle)
            self._make_room(folder, entry.size_bytes, 1)
            os.rename(part, entry.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=folder)
            raise
        os.fsync(folder)
        self._ledger.add(folder, Counts(spooled=1))

    def _make_room(self, folder: int, size_bytes: int = 0, clips: int = 0) -> int:
        overdue = self._overdue(folder, folder, size_bytes, clips)
        if overdue:
            self._ledger.add(folder, Counts(dropped=len(overdue)), durably=True)
            _log.warning("the spool is over its bounds: dropped the %d oldest clips", len(overdue))
        for entry in overdue:
            os.unlink(entry.name, dir_fd=folder)
        return len(overdue)

    def _expire(
        self, folder: int, where: int, lived_s: float, longest_s: Mapping[str, float]
    ) -> int:
        over = [
            entry
            for entry, stamp_s in scan(where)[0]
            if lived_s - stamp_s > longest_s.get(entry.owner, float("inf"))
        ]
        if over:
            self._ledger.add(folder, Counts(expired=len(over)), durably=True)
            _log.info("%d clips waited for as long as their owner lets them", len(over))
        for entry in over:
            os.unlink(entry.name, dir_fd=where)
        return len(over)

    def _overdue(
        self, folder: int, where: int, size_bytes: int = 0, clips: int = 0, *, share: int = 1
    ) -> list[Entry]:
        """Say which entries of ``where`` must go so that this much more fits."""
        lived_s = self._ledger.lived_s(folder)
        found, _ = scan(where)
        total_bytes = size_bytes + sum(entry.size_bytes for entry, _ in found)
        number = clips + len(found)
        overdue = []
        for entry, stamp_s in found:
            if (
                total_bytes > self._settings.longest_bytes // share
                or number > max(1, self._settings.most_clips // share)
                # Stamps from nowhere (a restored backup) lie ahead of the count: those are kept.
                or lived_s - stamp_s > self._settings.oldest_s
            ):
                overdue.append(entry)
                total_bytes -= entry.size_bytes
                number -= 1
        return overdue

    def _refuse(self) -> None:
        self._ledger.remember(Counts(refused=1))
        with contextlib.suppress(OSError), self._locked() as folder:
            self._ledger.add(folder, Counts(), durably=True)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        with directory(self._folder) as folder:
            yield folder

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the folder and keep every other operation out of it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._opened() as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if not self._swept:
                # Nobody else is writing, so every unfinished file is what a crash left.
                with os.scandir(folder) as listing:
                    names = [item.name for item in listing]
                for name in names:
                    if name.endswith(PART) and NAME.fullmatch(name.removesuffix(PART)):
                        os.unlink(name, dir_fd=folder)
                self._swept = True
            yield folder
