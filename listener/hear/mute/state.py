"""Mute state on disk: the software mute and the fault, one small JSON file each.

The files are authoritative. `earmark mute` writes them, also while hear does not run; hear checks
them at every block and writes them after a mute request or a fault. A file that is damaged,
unreadable or missing after it existed raises an error, which callers treat as muted.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from listener.errors import ConfigError, Unavailable, UsageError
from listener.spool.ledger import BootClock
from listener.storage.atomic import make_folder, read_plain_file, wait_for_lock, write_atomic

# They hold no secret, and hear must be able to read a file that root wrote.
_MODE: Final = 0o644
_LONGEST_BYTES: Final = 1024
_UNMUTE_FIRST: Final = "leave it so, or unmute first: earmark mute off"

FaultReason = Literal["sound-while-muted", "only-zeros-while-open"]
Since = Annotated[str, Meta(pattern=r"^[0-9T:.+Z-]{1,40}\Z")]


class _MuteRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1
    since: Since
    """Time of writing: ISO 8601 with a UTC offset."""


class MutePause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End of a mute for a time: a moment of CLOCK_BOOTTIME, which no person and no server can set.

    It exists in one start of the computer only. After a restart the mute has no end.
    """

    boot: Annotated[str, Meta(pattern=r"^[0-9a-f-]{36}\Z")]
    """The kernel's id of this start of the computer."""
    until_s: Annotated[float, Meta(ge=0)]
    """Seconds of CLOCK_BOOTTIME."""

    def left_s(self, clock: BootClock) -> float | None:
        """Return the seconds until the end, 0 after it; None in another start of the computer."""
        if clock.boot() != self.boot:
            return None
        return max(0.0, self.until_s - clock.running_s())


class SoftwareMute(_MuteRecord, frozen=True, kw_only=True):
    """Record of the software mute: ``mute.json``."""

    muted: bool
    by: Literal["command", "message"]
    """``command``: `earmark mute` on this machine; ``message``: a request from send."""
    pause: MutePause | UnsetType = UNSET
    """End of a mute for a time; such a record mutes until another one is written."""

    @property
    def mutes(self) -> bool:
        """Whether this is a reason to be muted."""
        return self.muted

    @property
    def mutes_without_end(self) -> bool:
        """Whether only a request or a person ends this mute."""
        return self.muted and self.pause is UNSET

    def is_over(self, clock: BootClock) -> bool:
        """Return whether this is a mute for a time, and its end has passed for certain."""
        return self.muted and self.pause is not UNSET and self.pause.left_s(clock) == 0.0


class FaultRecord(_MuteRecord, frozen=True, kw_only=True):
    """Record of a contradiction between switch and microphone: ``fault.json``."""

    reason: FaultReason | None
    """None after a person has cleared the fault."""

    @property
    def mutes(self) -> bool:
        """Whether this is a reason to be muted."""
        return self.reason is not None


REASONS: Final[dict[FaultReason, str]] = {
    "sound-while-muted": "the microphone delivered sound while the switch was at MUTE",
    "only-zeros-while-open": "the microphone delivered only zeros while the switch was open",
}

AnyRecord = TypeVar("AnyRecord", SoftwareMute, FaultRecord)


def identify(record: SoftwareMute | FaultRecord | None) -> bytes:
    """Return the bytes by which hear announces a record; see `listener.ipc.hear_locks`."""
    return b"" if record is None else msgspec.json.encode(record)


class MuteFile(Generic[AnyRecord]):
    """One mute file, read again only when its inode, time or size changes. One thread."""

    def __init__(self, path: Path, kind: type[AnyRecord]) -> None:
        self.path: Final = path
        self._kind: type[AnyRecord] = kind
        self._stamp: tuple[int, int, int] | None = None
        self._record: AnyRecord | None = None

    def read(self) -> AnyRecord | None:
        """Return the record; None if the file was never written.

        Raises:
            ConfigError: the file is damaged, or existed before and is missing.
            Unavailable: the file cannot be read.
        """
        try:
            status = self.path.stat(follow_symlinks=False)
        except FileNotFoundError as error:
            if self._stamp is None:
                return None
            raise ConfigError(f"{self.path} existed before and is missing") from error
        except OSError as error:
            raise Unavailable(f"cannot read {self.path}: {error.strerror}") from error
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._record = None
            # Set before reading: a file that changes meanwhile is read again next time.
            self._stamp = stamp
            self._record = self._read()
        if self._record is None:
            raise ConfigError(f"{self.path} is damaged")
        return self._record

    def _read(self) -> AnyRecord | None:
        try:
            # Never a pipe, whose writer could make this wait without end while the microphone is
            # open.
            data = read_plain_file(self.path, _LONGEST_BYTES)
        except OSError as error:
            if error.errno == errno.EFBIG:
                return None
            self._stamp = (-1, -1, -1)  # try again next time
            raise Unavailable(f"cannot read {self.path}: {error.strerror}") from error
        try:
            record: AnyRecord = msgspec.json.decode(data, type=self._kind)
        except (msgspec.DecodeError, RecursionError):
            return None
        return record


class MuteFiles:
    """Both mute files of a home. One thread.

    Args:
        home: the installation's folder.
        patience_s: seconds to wait for another writer; hear does not wait.
    """

    def __init__(self, home: Path, patience_s: float = 0.0) -> None:
        self._home: Final = home
        self._patience_s: Final = patience_s
        self.software: Final = MuteFile(home / "mute.json", SoftwareMute)
        self.fault: Final = MuteFile(home / "fault.json", FaultRecord)

    def mute(self, now: datetime, by: Literal["command", "message"], *, muted: bool) -> None:
        """Write the software mute and sync it to disk.

        Args:
            now: time of the change, with a time zone.
            by: the source of the change.
            muted: the new state.

        Raises:
            Unavailable: the file cannot be written, or another process is writing.
        """
        with self._exclusive():
            self._write(self.software.path, SoftwareMute(since=_since(now), muted=muted, by=by))

    def mute_until(self, now: datetime, pause: MutePause, clock: BootClock) -> SoftwareMute:
        """Mute for a time, by a command; a mute for a time that ends later remains.

        Args:
            now: time of the change, with a time zone.
            pause: the end.
            clock: clock of this start of the computer.

        Returns:
            The record in force.

        Raises:
            UsageError: a mute without end is in force, or the file cannot be read.
            Unavailable: as `mute`.
        """
        with self._exclusive():
            try:
                current = MuteFile(self.software.path, SoftwareMute).read()
            except ConfigError as error:
                raise UsageError(f"{error}, so this speaker is muted", _UNMUTE_FIRST) from error
            if current is not None and current.muted:
                left_s = None if current.pause is UNSET else current.pause.left_s(clock)
                if left_s is None:
                    raise UsageError("this speaker is muted already, without an end", _UNMUTE_FIRST)
                if left_s >= (pause.left_s(clock) or 0.0):
                    return current
            record = SoftwareMute(since=_since(now), muted=True, by="command", pause=pause)
            self._write(self.software.path, record)
        return record

    def unmute(
        self, now: datetime, by: Literal["command", "message"], *, ends: SoftwareMute
    ) -> None:
        """Write that the software mute has ended, unless another record replaced it meanwhile.

        Args:
            now: time of the change, with a time zone.
            by: the source of the change.
            ends: the record that ends.

        Raises:
            ConfigError: the present record cannot be read; it remains.
            Unavailable: as `mute`.
        """
        with self._exclusive():
            if MuteFile(self.software.path, SoftwareMute).read() == ends:
                record = SoftwareMute(since=_since(now), muted=False, by=by)
                self._write(self.software.path, record)

    def set_fault(self, now: datetime, reason: FaultReason | None) -> None:
        """Write the fault, or None to clear it; errors as `mute`."""
        with self._exclusive():
            self._write(self.fault.path, FaultRecord(since=_since(now), reason=reason))

    def _write(self, path: Path, record: SoftwareMute | FaultRecord) -> None:
        write_atomic(path, msgspec.json.encode(record) + b"\n", _MODE)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        make_folder(self._home)
        path = self._home / "mute.lock"
        try:
            # Read-only: hear must be able to lock a file that root created.
            flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            lock = os.open(path, flags, _MODE)
        except OSError as error:
            raise Unavailable(f"cannot use {path}: {error.strerror}") from error
        try:
            try:
                wait_for_lock(lock, self._patience_s)
            except TimeoutError as error:
                raise Unavailable(
                    f"another process is writing the mute state in {self._home}",
                    "run the command again",
                ) from error
            yield
        finally:
            os.close(lock)


def _since(now: datetime) -> str:
    return now.isoformat(timespec="microseconds")
