"""Inbound messages: the archive's statements and owners' key rotations, and mute commands.

Send applies retention limits to the spool; it verifies the archive's signature with the key that
was pinned on joining. It verifies the highest accepted number too, and stores it for hear, which
verifies it again. Key rotations and consents to voice control it stores unread for hear, which
accepts only those that the owner's key proves; and likewise owners' answers to challenges.

Mute commands are forwarded to hear, which decides. A mute is repeated until hear receives it.
"""

import base64
import binascii
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.errors import Unavailable
from listener.ipc import control
from listener.ipc.control import ControlClient
from listener.mqtt import retention, sequence, topics
from listener.mqtt.client import Message
from listener.mqtt.owner_challenges import LONGEST_ANSWERS_BYTES
from listener.mqtt.sequence import AcceptedSequence
from listener.mqtt.signed_statement import LONGEST_BYTES
from listener.spool.files import (
    ACCEPTED,
    CONSENTS,
    FOLLOWING,
    OWNER_ANSWERS,
    PUBLISHED_TIMES,
    TERMS,
)
from listener.storage.atomic import (
    make_folders,
    read_plain_file,
    translate_os_errors,
    write_shared,
)
from listener.voice.limits import LONGEST_CONSENTS_BYTES

PIN: Final = "archive.pub"
LONGEST_FOLLOWING_BYTES: Final = 7 << 10
_MOST_OWNERS: Final = 64
_DAY_S: Final = 86_400
_PREFIX: Final = b"ed25519:"
_LONGEST_PIN_BYTES: Final = 4 << 10
_LONGEST_LIMITS_BYTES: Final = 64 << 10
_LONGEST_TIMES_BYTES: Final = 1 << 10

_log = logging.getLogger(__name__)


class _StoredLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1)]
    n: int


_Limits = dict[ShortName, _StoredLimits]


class InboundMessages:
    """Handler of the archive's messages, with the limits in force. For one thread.

    Args:
        home: the data directory.
        device: this speaker's name.
    """

    def __init__(self, home: Path, device: str) -> None:
        self._folder = home / "spool"
        self._verify = _load_verifier(home / PIN)
        self._unread = {
            topics.KEYS.name(device=device): (FOLLOWING, LONGEST_FOLLOWING_BYTES),
            topics.CONSENTS.name(device=device): (CONSENTS, LONGEST_CONSENTS_BYTES),
            topics.OWNER_ANSWERS.name(device=device): (OWNER_ANSWERS, LONGEST_ANSWERS_BYTES),
        }
        self._device = device
        self._sequence = topics.SEQUENCE.name(device=device)
        self._limits = _read(self._folder / TERMS)
        self._published = _read_times(self._folder / PUBLISHED_TIMES)
        self.ignored = 0
        """Messages that are not signed by the archive, old, or too long."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics to subscribe to; without a pinned key not those that need a signature."""
        if self._verify is None:
            return tuple(self._unread)
        return (*self._unread, topics.RETENTION.topic_filter(), self._sequence)

    def longest_s(self) -> Mapping[str, float]:
        """Return the seconds that a clip may wait here, by owner, if they set a limit."""
        return {owner: limit.days * _DAY_S for owner, limit in self._limits.items()}

    def take(self, message: Message) -> bool:
        """Handle a message; return whether a retention limit changed.

        A message that cannot be stored is logged; the broker sends it again on the next connection.
        """
        try:
            with translate_os_errors(self._folder):
                if message.topic in self._unread:
                    self._store_unread(*self._unread[message.topic], message)
                elif message.topic == self._sequence:
                    self._store_sequence(message.payload)
                elif (levels := topics.RETENTION.levels(message.topic)) is not None:
                    return self._set_retention(levels["owner"], message.payload)
        except Unavailable as error:
            _log.warning("cannot store a message of the archive: %s", error)
        return False

    def _store_unread(self, name: str, longest_bytes: int, message: Message) -> None:
        """Store a message for hear, which verifies it.

        A broker may have retained it since before another broker delivered a newer one. Without the
        retain flag it is published in this moment, and is the newest.
        """
        payload = message.payload
        if len(payload) > longest_bytes or (
            message.retain and 0 < message.published_ms < self._published.get(name, 0)
        ):
            self._count_ignored()
            return
        if message.published_ms != self._published.get(name, 0):
            self._published[name] = message.published_ms
            # First: after a crash in between, the same message is stored.
            _write(self._folder / PUBLISHED_TIMES, msgspec.json.encode(self._published))
        path = self._folder / name
        with contextlib.suppress(OSError):  # whatever is there, it is replaced
            if read_plain_file(path, longest_bytes) == payload:
                return
        _write(path, payload)

    def _store_sequence(self, payload: bytes) -> None:
        path = self._folder / ACCEPTED
        stated = self._parse_sequence(payload)
        stored = None
        with contextlib.suppress(OSError):
            stored = self._parse_sequence(read_plain_file(path, LONGEST_BYTES))
        if stated is None or (
            stored is not None and stored.dkey == stated.dkey and stated.seq < stored.seq
        ):
            self._count_ignored()
        elif stated != stored:
            _write(path, payload)

    def _parse_sequence(self, payload: bytes) -> AcceptedSequence | None:
        stated = None if self._verify is None else sequence.parse(payload, self._verify)
        return stated if stated is not None and stated.device == self._device else None

    def _set_retention(self, owner: str, payload: bytes) -> bool:
        term = None if self._verify is None else retention.parse(payload, self._verify)
        known = self._limits.get(owner)
        if (
            term is None
            or term.owner != owner
            or (known is not None and term.n < known.n)
            or (known is None and len(self._limits) >= _MOST_OWNERS)
        ):
            self._count_ignored()
            return False
        limit = _StoredLimits(days=term.days, n=term.n)
        if limit == known:
            return False
        self._limits[owner] = limit
        _write(self._folder / TERMS, msgspec.json.encode(self._limits, order="sorted"))
        return True

    def _count_ignored(self) -> None:
        self.ignored += 1
        if self.ignored == 1:
            _log.warning(
                "ignored a message on the archive's topics: not signed by it, old, or too long"
            )


def _load_verifier(path: Path) -> Callable[[bytes, bytes], bool] | None:
    """Return the verifier of the archive's signature, or None without a pinned key."""
    try:
        text = read_plain_file(path, _LONGEST_PIN_BYTES)
        raw = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (OSError, binascii.Error):
        return None

    def verify(signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - few messages need it
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - loads OpenSSL, and send's memory is limited

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verify


def _read(path: Path) -> _Limits:
    try:
        return msgspec.json.decode(read_plain_file(path, _LONGEST_LIMITS_BYTES), type=_Limits)
    except (OSError, ValueError, RecursionError):
        return {}  # the broker retains the limits and sends them on connecting


def _read_times(path: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode(read_plain_file(path, _LONGEST_TIMES_BYTES), type=dict[str, int])
    except (OSError, ValueError, RecursionError):
        return {}  # an older message may replace a newer one, until it is published again


def _write(path: Path, data: bytes) -> None:
    """Replace a file in the spool's folder atomically; hear may read it in a setgid folder."""
    make_folders(path.parent)
    write_shared(path, data)


class CommandForwarder:
    """Forwarder of commands to hear, which decides. For one thread.

    Args:
        device: this speaker's name.
        controller: client of hear's control socket; None forwards nothing.
        on_false_wake: counts the last wake as false; returns whether there was one to count.
    """

    def __init__(
        self,
        device: str,
        controller: ControlClient | None,
        on_false_wake: Callable[[], bool] = lambda: False,
    ) -> None:
        self._controller = controller
        self._on_false_wake = on_false_wake
        self._topic = topics.COMMAND.name(device=device)
        self._mutes = False
        self.ignored = 0
        """Messages that are not a command, retained ones, and commands without an effect here."""

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics to subscribe to."""
        return () if self._controller is None else (self._topic,)

    def take(self, message: Message) -> None:
        """Forward a command for this device."""
        if message.topic != self._topic:
            return
        command = None if message.retain else topics.parse_command(message.payload)
        if self._controller is None or command is None:
            self.ignored += 1
            if self.ignored == 1:
                _log.warning("ignored a message on the command topic: retained or not a command")
            return
        match command:
            case "mute":
                self._mutes = not self._controller.send(control.MuteRequest())
            case "unmute":
                # While a mute waits for hear, or hear is absent: an unmute must never arrive late.
                is_done = not self._mutes and self._controller.send(control.UnmuteRequest())
                self.ignored += not is_done
            case "false-wake":
                self.ignored += not self._on_false_wake()
            case topics.ThresholdCommand(word=word, threshold=threshold):
                request = control.ThresholdRequest(word=word, threshold=threshold)
                self.ignored += not self._controller.send(request)
            case topics.WordCommand(only=only):
                self.ignored += not self._controller.send(control.WordRequest(only=only))

    def retry(self) -> None:
        """Forward a mute that hear did not get, until it does."""
        if self._mutes and self._controller is not None:
            self._mutes = not self._controller.send(control.MuteRequest())
