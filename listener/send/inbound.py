"""What the archive has for this speaker, kept on the disk: times that became shorter, new keys.

Send judges the first, for it empties the spool: only what the archive signed counts, with the key
that the join line named. The second it does not understand: it lays the bytes where hear looks,
and hear believes nothing but the proof of the key that it seals to now.

Wishes from the broker, forwarded to hear, which decides. No mute is lost while hear is away.
"""

import base64
import binascii
import contextlib
import logging
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.errors import Unavailable
from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.mqtt import retention, topics
from listener.mqtt.client import Message
from listener.spool.files import FOLLOWING, TERMS
from listener.storage.atomic import translate_os_errors, write_atomic

PIN: Final = "archive.pub"
LONGEST_FOLLOWING_BYTES: Final = 7 << 10
_MOST_OWNERS: Final = 64
_DAY_S: Final = 86_400
_PREFIX: Final = b"ed25519:"

_log = logging.getLogger(__name__)


class _StoredLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1)]
    n: int


_Held = dict[ShortName, _StoredLimits]


class InboundMessages:
    """What was said, and what holds. For one thread.

    Args:
        home: the folder of this installation.
        device: this speaker's name.
    """

    def __init__(self, home: Path, device: str) -> None:
        self._border = home / "spool"
        self._verify = _verifier(home / PIN)
        self._keys = topics.KEYS.name(device=device)
        self._held = _read(self._border / TERMS)
        self.ignored = 0
        """Messages that the archive did not sign, or that are old, or too long."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What to ask the broker for; nothing of an archive whose key nobody named."""
        return (
            (self._keys,) if self._verify is None else (self._keys, topics.RETENTION.topic_filter())
        )

    def longest_s(self) -> Mapping[str, float]:
        """Return for how long a clip may wait here, by owner; who is not in it has chosen none."""
        return {owner: kept.days * _DAY_S for owner, kept in self._held.items()}

    def take(self, message: Message) -> bool:
        """Take in a message; say whether a time became another.

        What cannot be written is said, and comes again with the next connection.
        """
        try:
            with translate_os_errors(self._border):
                if message.topic == self._keys:
                    self._store_key_rotation(message.payload)
                elif (levels := topics.RETENTION.levels(message.topic)) is not None:
                    return self._set_retention(levels["owner"], message.payload)
        except Unavailable as error:
            _log.warning("cannot store a message of the archive: %s", error)
        return False

    def _store_key_rotation(self, payload: bytes) -> None:
        if len(payload) > LONGEST_FOLLOWING_BYTES:
            self._count_ignored()
            return
        path = self._border / FOLLOWING
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == payload:
                return
        _write(path, payload)

    def _set_retention(self, owner: str, payload: bytes) -> bool:
        term = None if self._verify is None else retention.parse(payload, self._verify)
        known = self._held.get(owner)
        if (
            term is None
            or term.owner != owner
            or (known is not None and term.n < known.n)
            or (known is None and len(self._held) >= _MOST_OWNERS)
        ):
            self._count_ignored()
            return False
        kept = _StoredLimits(days=term.days, n=term.n)
        if kept == known:
            return False
        self._held[owner] = kept
        _write(self._border / TERMS, msgspec.json.encode(self._held, order="sorted"))
        return True

    def _count_ignored(self) -> None:
        self.ignored += 1
        if self.ignored == 1:
            _log.warning("something is ignored that is said in the archive's name")


def _verifier(path: Path) -> Callable[[bytes, bytes], bool] | None:
    """Return what checks the archive's signature, or None where its key is not known."""
    try:
        raw = base64.b64decode(path.read_bytes().strip().removeprefix(_PREFIX), validate=True)
    except (OSError, binascii.Error):
        return None

    def verify(signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - most need none
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - OpenSSL, and send is small

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _read(path: Path) -> _Held:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Held)
    except (OSError, ValueError, RecursionError):
        return {}  # the broker has it still, and says it on connecting


def _write(path: Path, data: bytes) -> None:
    """Replace a file at the border, durably and whole; hear may read it where both share that."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_shared = path.parent.stat().st_mode & stat.S_ISGID
    # The group reads and does not write: not shared_mode.
    write_atomic(path, data, 0o640 if is_shared else 0o600)


class CommandForwarder:
    """Forward mute and unmute, and nothing else. For one thread.

    Args:
        device: this speaker's name.
        controller: reaches hear; None forwards nothing.
    """

    def __init__(self, device: str, controller: ControlClient | None) -> None:
        self._controller = controller
        self._topic = topics.COMMAND.name(device=device)
        self._mutes = False
        self.ignored = 0
        """Messages that are no command, or an old one, or an unmute that found no hear."""

    @property
    def topics(self) -> tuple[str, ...]:
        """What to ask the broker for."""
        return () if self._controller is None else (self._topic,)

    def take(self, message: Message) -> None:
        """Forward what a message says, if it is for this device."""
        if message.topic != self._topic:
            return
        command = topics.parse_command(message.payload)
        if self._controller is None or command is None or message.retain:
            self.ignored += 1
            if self.ignored == 1:
                _log.warning("a command is ignored: it is none, or the broker had kept it")
        elif command == "mute":
            self._mutes = not self._controller.send(control.MuteRequest())
        elif self._mutes or not self._controller.send(control.UnmuteRequest()):
            # A mute still waits for hear, or nobody is there: an unmute must never come late.
            self.ignored += 1

    def retry(self) -> None:
        """Forward a mute that found no hear, until one is there."""
        if self._mutes and self._controller is not None:
            self._mutes = not self._controller.send(control.MuteRequest())
