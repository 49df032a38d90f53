"""Agreement of hear and the player on sound, as locks on one file: no sound without both ends.

* byte 0: hear permits sound: it is not muted and does not record a clip;
* byte 1: the loudspeaker may sound: from before the first sample until `TAIL_S` after the last;
* one byte of a range: the number of the player's last sound, so that hear notices a sound that
  began and ended while it did not look. Without one, no player runs.

Hear creates the file and keeps one descriptor of it. The player opens the file for each sound, and
plays only while it sees hear's lock on the same file: so hear, which queries its own descriptor,
sees the player's lock whatever becomes of the file's name. The kernel releases the locks of a
process that ends: without hear there is no permission, and without the player no sound.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from listener.errors import Unavailable
from listener.ipc.byte_locks import find_locked_byte, is_byte_locked, lock_byte, unlock_byte
from listener.storage.atomic import PUBLIC_MODE

PLAYBACK_FILE: Final = "playback.lock"
"""Name in the runtime folder ``voice``."""
TAIL_S: Final = 0.4
"""Seconds for which a sound counts as sounding after its last sample: the room's echo, and the
longest time that hear may lag behind the microphone; see decisions 0011 and 0053."""

_PERMITTED: Final = 0
_SOUNDING: Final = 1
_NUMBERS: Final = 1 << 40
"""Offset of the range; a player begins at a random place in its first half."""


class PlaybackPermit:
    """Hear's end. For one thread.

    Args:
        folder: the runtime folder ``voice``, which exists.

    Raises:
        Unavailable: the file cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / PLAYBACK_FILE
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, PUBLIC_MODE)
            # The umask of a service may hide the file from the player's user.
            with contextlib.suppress(PermissionError):
                os.fchmod(self._file, PUBLIC_MODE)
        except OSError as error:
            raise Unavailable(f"cannot use {path}: {error.strerror}") from error
        self._is_permitted = False

    def permit(self, *, is_permitted: bool) -> None:
        """Permit sound from now on, or forbid it; if the lock cannot be set, it stays forbidden."""
        if is_permitted == self._is_permitted:
            return
        with contextlib.suppress(OSError):
            (lock_byte if is_permitted else unlock_byte)(self._file, _PERMITTED)
            self._is_permitted = is_permitted

    def is_sounding(self) -> bool:
        """Return whether the loudspeaker may sound; True if that is not known."""
        try:
            return self._file < 0 or is_byte_locked(self._file, _SOUNDING)
        except OSError:
            return True

    def sound_number(self) -> int | None:
        """Return the number of the player's last sound; None if no player runs.

        It also changes when a player starts or ends.
        """
        try:
            return None if self._file < 0 else find_locked_byte(self._file, _NUMBERS, _NUMBERS)
        except OSError:
            return None  # is_sounding says that nothing is known

    def is_player_running(self) -> bool:
        """Return whether a player runs."""
        return self.sound_number() is not None

    def close(self) -> None:
        """Forbid sound and close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class PlaybackLock:
    """The player's end. For one thread.

    Args:
        folder: the runtime folder ``voice``; hear may create the file later.
    """

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / PLAYBACK_FILE
        self._file = -1
        # Random, so that hear can tell this player from one that ran before.
        self._number = _NUMBERS + secrets.randbelow(_NUMBERS // 2)

    def refresh(self) -> bool:
        """Announce that the player runs; return whether hear permits sound now.

        The file is opened again unless hear's lock is on the open one: hear may have been
        restarted beside a new file.
        """
        if self._is_locked(_PERMITTED):
            return True
        if not self._is_current():
            self._open()
        return self._is_locked(_PERMITTED)

    def begin(self) -> bool:
        """Announce a sound; return False, and announce nothing, unless hear permits it."""
        if not self.refresh():
            return False
        try:
            lock_byte(self._file, self._number + 1)
            unlock_byte(self._file, self._number)
            self._number += 1
            lock_byte(self._file, _SOUNDING)
        except OSError:
            return False
        # Hear may have withdrawn its permission before it could see the lock.
        if self._is_locked(_PERMITTED):
            return True
        self.end()
        return False

    def is_permitted(self) -> bool:
        """Return whether hear permits the sound that was begun; to be asked before each piece."""
        return self._is_locked(_PERMITTED)

    def end(self) -> None:
        """Announce the end of a sound; to be called `TAIL_S` after its last sample."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                unlock_byte(self._file, _SOUNDING)

    def close(self) -> None:
        """Release all locks."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _is_current(self) -> bool:
        try:
            named = self._path.stat(follow_symlinks=False)
            return self._file >= 0 and os.path.samestat(named, os.fstat(self._file))
        except OSError:
            return False

    def _open(self) -> None:
        self.close()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags)
            lock_byte(self._file, self._number)
        except OSError:
            self.close()

    def _is_locked(self, byte: int) -> bool:
        try:
            return self._file >= 0 and is_byte_locked(self._file, byte)
        except OSError:
            return False
