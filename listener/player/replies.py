"""Replies in the runtime folder: take each file once, and decide by the protocol's rules."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from listener.audio.pcm import Samples
from listener.envelope.keys import parse_device
from listener.errors import ConfigError, VoiceError
from listener.ipc.player_state import PlayerState
from listener.player.reply_keys import ReplyKeys
from listener.storage.atomic import read_plain_file
from listener.voice.open_reply import open_reply
from listener.voice.reply import parse_reply
from listener.voice.timing import clock_moved, may_play

REPLIES_FOLDER: Final = "replies"
"""Name in the runtime folder ``voice``; one file, named for its ask."""
LONGEST_FILE_BYTES: Final = 600 * 1024
"""Longest file that is read: 512 KiB of ciphertext, and its lines."""
_MOST_FILES: Final = 8
"""Files that are looked at in one turn; all are removed."""

Refusal = Literal["form", "ask", "device", "late", "clock", "muted", "key", "signature", "sealed"]
"""Reasons for which a reply is not played; ``sealed`` for any other error of its inside."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks of this device."""

    boot_s: float
    """CLOCK_BOOTTIME, in seconds."""
    wall_s: float
    """CLOCK_REALTIME, in seconds."""


@dataclass(frozen=True, slots=True)
class PlayableSound:
    """Samples to play; the caller overwrites them afterwards."""

    samples: Samples
    """int16, shape (n,), mono."""
    rate_hz: int


def take_reply_files(folder: Path) -> list[bytes]:
    """Return the content of the waiting replies, and remove every file in their folder.

    A file that is not a plain file, or longer than `LONGEST_FILE_BYTES`, is removed unread.

    Args:
        folder: the folder of replies; it may be missing.
    """
    found: list[bytes] = []
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names, for one folder
    except OSError:
        return found
    for name in names:
        path = folder / name
        if name.startswith("."):
            continue  # send is still writing it
        if len(found) < _MOST_FILES:
            with contextlib.suppress(OSError):
                found.append(read_plain_file(path, LONGEST_FILE_BYTES))
        with contextlib.suppress(OSError):
            path.unlink()
    return found


def decide_reply(
    data: bytes, state: PlayerState, keys: ReplyKeys, device: str, now: Moment
) -> PlayableSound | Refusal:
    """Open a reply that may be played now, or return the reason against it.

    The key of the ask is used up by the first reply with a valid signature, whatever comes of it.

    Args:
        data: any bytes are safe.
        state: what hear says.
        keys: hold the secret key of the latest ask.
        device: name of this device.
        now: the moment at which the reply would start.
    """
    latest = state.latest
    if state.muted or latest is None:
        return "muted" if state.muted else "ask"
    try:
        reply = parse_reply(data)
    except VoiceError:
        return "form"
    header = reply.header
    if header.ask != latest.ask or header.device != device:
        return "ask" if header.ask != latest.ask else "device"
    asked_s, asked_wall_s = latest.boot_ms / 1000, latest.wall_ms / 1000
    if not may_play(asked_s, header.age_ms, now.boot_s):
        return "late"
    if clock_moved(asked_s, asked_wall_s, now.boot_s, now.wall_s):
        return "clock"
    try:
        assist_key = parse_device(latest.assist)
        reply.verify(assist_key)
    except (VoiceError, ConfigError):
        return "signature"
    secret = keys.take(latest.ask)
    if secret is None:
        return "key"
    try:
        opened = open_reply(reply, assist_key, secret)
    except VoiceError:
        return "sealed"
    return PlayableSound(opened.samples, opened.rate_hz)
