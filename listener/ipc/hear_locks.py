"""State of a running hear as locks on one file: readable by other processes, true without a writer.

A lock is released by the kernel when its process ends, so the state cannot outlive the process and
a process that hangs cannot announce what it has not done. The locks are those of `byte_locks`;
readers only query them.

* byte 0: the microphone process runs, so the device may be open;
* byte 1: hear runs;
* one byte for each record of the mute state that hear acts on: its CRC-32 after a base offset.
"""

import contextlib
import errno
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.ipc.byte_locks import is_byte_locked, lock_byte, unlock_byte
from listener.storage.atomic import PUBLIC_MODE, chown_to_folder_owner

FILE: Final = "hear.lock"
"""Name in the data directory."""

_MICROPHONE: Final = 0
_HEAR: Final = 1
_RECORDS: Final = 1 << 32
"""Offset of the bytes of the records; the kinds of records are this far apart."""


class HearLocks:
    """Writer of the locks, for hear. For one thread.

    Args:
        home: the data directory, which exists.

    Raises:
        Unavailable: the file cannot be opened or locked.
    """

    def __init__(self, home: Path) -> None:
        self._path: Final = home / FILE
        self._applied: dict[int, bytes] = {}
        self._file = -1
        try:
            self._file = _open(self._path)
            lock_byte(self._file, _HEAR)
        except OSError as error:
            self.close()
            raise Unavailable(f"cannot use {self._path}: {error.strerror or error}") from error

    def lock_microphone(self) -> int:
        """Call `lock_microphone` with the data directory."""
        return lock_microphone(self._path.parent)

    def apply(self, *records: bytes) -> None:
        """Announce the records of the mute state that hear acts on, in place of earlier ones.

        Args:
            records: one of each kind, always in the same order; empty for a missing one.
        """
        for kind, record in enumerate(records):
            if self._applied.get(kind) == record:
                continue
            with contextlib.suppress(OSError):
                if kind in self._applied:
                    unlock_byte(self._file, _offset(kind, self._applied[kind]))
                self._applied[kind] = record
                lock_byte(self._file, _offset(kind, record))

    def close(self) -> None:
        """Release the locks."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def lock_microphone(home: Path) -> int:
    """Return a new descriptor with the lock of the microphone, for the process that opens it.

    The lock lasts until the last copy of the descriptor is closed.

    Args:
        home: the data directory, which exists.

    Raises:
        OSError: the file cannot be opened or locked; the microphone must stay closed.
    """
    file = _open(home / FILE)
    try:
        lock_byte(file, _MICROPHONE)
    except BaseException:
        os.close(file)
        raise
    return file


class HearLockReader:
    """Reader of the state, also of a hear that hangs. For any thread.

    Args:
        home: the data directory.

    Raises:
        Unavailable: from each method, when the file cannot be read.
    """

    def __init__(self, home: Path) -> None:
        self._path: Final = home / FILE

    def is_microphone_open(self) -> bool:
        """Return whether a microphone process runs."""
        return self._is_locked(_MICROPHONE)

    def is_running(self) -> bool:
        """Return whether hear runs."""
        return self._is_locked(_HEAR)

    def has_applied(self, kind: int, record: bytes) -> bool:
        """Return whether hear acts on a record of the mute state.

        Args:
            kind: position of the record in the arguments of `HearLocks.apply`.
            record: the record; empty for a missing one.
        """
        return self._is_locked(_offset(kind, record))

    def _is_locked(self, offset: int) -> bool:
        with self._opened() as file:
            if file is None:
                return False
            return is_byte_locked(file, offset)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Open the file for the block; yield None where hear never ran."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            file = os.open(self._path, flags)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror}") from error
        try:
            _check_regular(file)
            yield file
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror or error}") from error
        finally:
            os.close(file)


def _open(path: Path) -> int:
    # Read-only, which is enough for shared locks: the file may belong to root.
    flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path, flags, PUBLIC_MODE)
    try:
        _check_regular(file)
        chown_to_folder_owner(file, path.parent)
    except BaseException:
        os.close(file)
        raise
    return file


def _offset(kind: int, record: bytes) -> int:
    return _RECORDS * (kind + 1) + zlib.crc32(record)


def _check_regular(file: int) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
