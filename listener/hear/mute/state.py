"""What mutes beyond a restart: the software mute and the fault, a small file each.

The files are the truth. `earmark mute` writes them, also while hear does not run; hear looks at
them at every block and writes them when somebody mutes by message or when it finds a fault. What is
damaged, unreadable or gone again is not an answer, and whoever asks takes it for muted.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from listener.errors import ConfigError, Unavailable
from listener.storage.atomic import make_folder, write_atomic

# Nothing in them is secret, and hear must be able to read what root wrote.
_MODE: Final = 0o644
_LONGEST_BYTES: Final = 1024
_PAUSE_S: Final = 0.01

FaultReason = Literal["sound-while-muted", "only-zeros-while-open"]
Since = Annotated[str, Meta(pattern=r"^[0-9T:.+Z-]{1,40}\Z")]


class _MuteRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Literal[1] = 1
    since: Since
    """When it was written, with its time zone."""


class SoftwareMute(_MuteRecord, frozen=True, kw_only=True):
    """The software mute."""

    muted: bool
    by: Literal["command", "message"]
    """``command``: a person at this machine; ``message``: one that send forwarded."""

    @property
    def mutes(self) -> bool:
        """Whether this is a reason to be muted."""
        return self.muted


class FaultRecord(_MuteRecord, frozen=True, kw_only=True):
    """A contradiction between what the switch says and what the microphone gives."""

    reason: FaultReason | None
    """None: a person cleared it."""

    @property
    def mutes(self) -> bool:
        """Whether this is a reason to be muted."""
        return self.reason is not None


REASONS: Final[dict[FaultReason, str]] = {
    "sound-while-muted": "the microphone gave sound while the switch said muted",
    "only-zeros-while-open": "the microphone gave only zeros while the switch said open",
}

AnyRecord = TypeVar("AnyRecord", SoftwareMute, FaultRecord)


class MuteFile(Generic[AnyRecord]):
    """One of the files. Looked at often and read when it is another. One thread."""

    def __init__(self, path: Path, kind: type[AnyRecord]) -> None:
        self.path: Final = path
        self._kind: type[AnyRecord] = kind
        self._stamp: tuple[int, int, int] | None = None
        self._record: AnyRecord | None = None

    def read(self) -> AnyRecord | None:
        """Return what it says; None where it was never written.

        Raises:
            ConfigError: it is damaged, or was there and is gone.
            Unavailable: it cannot be read.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError as error:
            if self._stamp is None:
                return None
            raise ConfigError(f"{self.path} was there and is gone") from error
        except OSError as error:
            raise Unavailable(f"cannot read {self.path}: {error.strerror}") from error
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._record = None
            # Set before reading: a file that changes in between is read again next time.
            self._stamp = stamp
            self._record = self._read()
        if self._record is None:
            raise ConfigError(f"{self.path} is damaged")
        return self._record

    def _read(self) -> AnyRecord | None:
        try:
            with self.path.open("rb") as stream:
                data = stream.read(_LONGEST_BYTES + 1)
        except OSError as error:
            self._stamp = (-1, -1, -1)  # try again next time
            raise Unavailable(f"cannot read {self.path}: {error.strerror}") from error
        if len(data) > _LONGEST_BYTES:
            return None
        try:
            record: AnyRecord = msgspec.json.decode(data, type=self._kind)
        except (msgspec.DecodeError, RecursionError):
            return None
        return record


class MuteFiles:
    """Both files of a home.

    Args:
        home: the installation's folder.
        patience_s: how long to wait for another writer; hear waits for none.
    """

    def __init__(self, home: Path, patience_s: float = 0.0) -> None:
        self._home: Final = home
        self._patience_s: Final = patience_s
        self.software: Final = MuteFile(home / "mute.json", SoftwareMute)
        self.fault: Final = MuteFile(home / "fault.json", FaultRecord)

    def mute(self, now: datetime, by: Literal["command", "message"], *, muted: bool) -> None:
        """Write the software mute, durably.

        Raises:
            Unavailable: it cannot be written, or another process is writing.
        """
        self._write(self.software.path, SoftwareMute(since=_since(now), muted=muted, by=by))

    def set_fault(self, now: datetime, reason: FaultReason | None) -> None:
        """Write the fault, or that a person cleared it; errors as `mute`."""
        self._write(self.fault.path, FaultRecord(since=_since(now), reason=reason))

    def _write(self, path: Path, record: SoftwareMute | FaultRecord) -> None:
        make_folder(self._home)
        with self._exclusive():
            write_atomic(path, msgspec.json.encode(record) + b"\n", _MODE)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        path = self._home / "mute.lock"
        try:
            # Read-only: hear must be able to lock what root made.
            lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise Unavailable(f"cannot use {path}: {error.strerror}") from error
        try:
            self._lock(lock)
            yield
        finally:
            os.close(lock)

    def _lock(self, file: int) -> None:
        until_s = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= until_s:
                    raise Unavailable(
                        f"another process is writing in {self._home}", "try again in a moment"
                    ) from error
                time.sleep(_PAUSE_S)
            else:
                return


def _since(now: datetime) -> str:
    return now.isoformat(timespec="microseconds")
