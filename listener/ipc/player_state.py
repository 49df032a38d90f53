"""State that hear gives the player: a small JSON file, replaced whole, and an empty datagram.

Hear alone writes the file. It holds what the player must know to accept a reply, and the number of
the last built-in sound that hear asked for. The datagram carries nothing: it only makes the player
look at the file now.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.errors import Unavailable
from listener.ipc.datagrams import Outbox
from listener.ipc.voice_paths import PLAYER_SOCKET, PLAYER_STATE
from listener.storage.atomic import PUBLIC_MODE, read_plain_file

LONGEST_STATE_BYTES: Final = 1024

SoundName = Literal[
    "wake", "done", "failed", "not-understood", "late", "unknown", "consent", "refused"
]
"""Built-in sounds: after the wake word; the outcomes of a command, ``unknown`` for one that did not
arrive; a consent that arrived; a command that could not be sent."""

_Time = Annotated[int, Meta(ge=0, le=1 << 53)]


class AskedReply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The latest ask, and the reply key that it named."""

    ask: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    assist: Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/=]{44}\Z")]
    """The service key that may answer it."""
    reply: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    """The reply key in it."""
    boot_ms: _Time
    """CLOCK_BOOTTIME at its signing, in ms."""
    wall_ms: _Time
    """CLOCK_REALTIME at the same moment, in ms."""


class PlayerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What hear tells the player."""

    v: Literal[1] = 1
    muted: bool = True
    latest: AskedReply | None = None
    """None before the first ask, after one without a reply key, and after a mute."""
    sound: SoundName | None = None
    sound_n: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Number of ``sound``; the player plays each number at most once."""
    sound_ms: _Time = 0
    """CLOCK_BOOTTIME when hear asked for ``sound``, in ms."""


def parse_player_state(data: bytes) -> PlayerState | None:
    """Return the state, or None for bytes that are not one."""
    if len(data) > LONGEST_STATE_BYTES:
        return None
    try:
        return msgspec.json.decode(data, type=PlayerState)
    except (msgspec.DecodeError, RecursionError):
        return None


def read_player_state(folder: Path) -> PlayerState | None:
    """Return hear's state; None if there is none, or it cannot be read or parsed.

    Args:
        folder: the runtime folder ``voice``.
    """
    try:
        return parse_player_state(read_plain_file(folder / PLAYER_STATE, LONGEST_STATE_BYTES))
    except OSError:
        return None


def boot_ms() -> int:
    """Return CLOCK_BOOTTIME in ms."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class PlayerStateWriter:
    """Hear's end. Never waits for the player. For one thread.

    Args:
        folder: the runtime folder ``voice``, which exists.

    Raises:
        Unavailable: the first state, muted and without an ask, cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / PLAYER_STATE
        self._outbox: Final = Outbox(folder / PLAYER_SOCKET)
        before = read_player_state(folder)
        self._state = PlayerState(sound_n=0 if before is None else before.sound_n)
        try:
            self._write()
        except OSError as error:
            self._outbox.close()
            raise Unavailable(f"cannot write {self._path}: {error.strerror or error}") from error

    def set_muted(self, *, is_muted: bool) -> None:
        """Write a change of the mute; a mute forgets the latest ask."""
        if is_muted != self._state.muted:
            latest = None if is_muted else self._state.latest
            self._change(muted=is_muted, latest=latest)

    def set_latest(self, latest: AskedReply | None) -> None:
        """Write the ask that was signed last; None for one without a reply key."""
        self._change(latest=latest)

    def request_sound(self, sound: SoundName) -> bool:
        """Request a built-in sound; return whether a player was told."""
        return self._change(sound=sound, sound_n=self._state.sound_n + 1, sound_ms=boot_ms())

    def close(self) -> None:
        """Write that hear is muted, and close the socket."""
        self._change(muted=True, latest=None)
        self._outbox.close()

    def _change(self, **fields: object) -> bool:
        self._state = msgspec.structs.replace(self._state, **fields)
        with contextlib.suppress(OSError):
            self._write()
            return self._outbox.send(b"")
        return False

    def _write(self) -> None:
        # The folder is a tmpfs: whole is enough, durable is not possible.
        part = self._path.with_name(f".{self._path.name}.part")
        part.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(part, flags, PUBLIC_MODE)
        try:
            os.fchmod(file, PUBLIC_MODE)
            os.write(file, msgspec.json.encode(self._state))
        finally:
            os.close(file)
        part.replace(self._path)
