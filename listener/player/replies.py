"""Replies in the runtime folder: take each file once, and decide by the protocol's rules."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from listener.audio.pcm import Samples
from listener.envelope.keys import owner_id, parse_device
from listener.errors import ConfigError, VoiceError
from listener.ipc.player_state import AskedReply, PlayerState
from listener.player.reply_keys import ReplyKeys
from listener.storage.atomic import read_plain_file
from listener.voice.limits import LONGEST_FILE_BYTES
from listener.voice.open_reply import open_reply
from listener.voice.reply import ReplyHeader, parse_reply
from listener.voice.timing import clock_moved, may_play

_MOST_FILES: Final = 8
"""Files that are looked at in one turn; all are removed."""

Refusal = Literal["form", "ask", "device", "late", "clock", "muted", "key", "signature", "sealed"]
"""Reasons for which a reply is not played; ``sealed`` for any other error of its inside."""


@dataclass(frozen=True, slots=True)
class ClockReading:
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
    data: bytes, state: PlayerState, keys: ReplyKeys, device: str, now: ClockReading
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
    try:
        reply = parse_reply(data)
    except VoiceError:
        return "form"
    latest = state.latest
    if state.muted or latest is None:
        return "muted" if state.muted else "ask"
    refusal = _check_header(reply.header, latest, device, now)
    if refusal is not None:
        return refusal
    try:
        assist_key = parse_device(latest.assist)
        reply.verify(assist_key)
        secret = keys.take(latest.ask)
        opened = None if secret is None else open_reply(reply, assist_key, secret)
    except ConfigError:
        return "signature"
    except VoiceError as error:
        return "signature" if error.reason == "signature" else "sealed"
    return "key" if opened is None else PlayableSound(opened.samples, opened.rate_hz)


def _check_header(
    header: ReplyHeader, latest: AskedReply, device: str, now: ClockReading
) -> Refusal | None:
    asked_s, asked_wall_s = latest.boot_ms / 1000, latest.wall_ms / 1000
    checks: tuple[tuple[Refusal, bool], ...] = (
        ("ask", header.ask == latest.ask),
        ("device", header.device == device),
        ("key", header.key == owner_id(latest.reply)),
        ("late", may_play(asked_s, header.age_ms, now.boot_s)),
        ("clock", not clock_moved(asked_s, asked_wall_s, now.boot_s, now.wall_s)),
    )
    return next((reason for reason, holds in checks if not holds), None)
