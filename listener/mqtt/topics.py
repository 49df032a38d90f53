"""Topics of MQTT with payload, quality of service and retain flag. Pure.

``docs/reference/mqtt.md`` documents them. A clip is never retained: a retained clip is a
stored recording on the broker.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName

CLIP_EXPIRY_S: Final = 60
"""Message expiry of a clip: longer than any timeout, after which it is published again. The archive
derives from it for how long a broker kept a clip."""
_LEVEL: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)


def kept_s(left_s: int | None) -> int:
    """Return for how long a broker kept a clip, in seconds; 0 if it is not known.

    Args:
        left_s: what is left of its expiry interval.
    """
    return 0 if left_s is None else max(0, CLIP_EXPIRY_S - left_s)


@dataclass(frozen=True, slots=True)
class Topic:
    """Topic with its QoS and retain flag.

    Args:
        pattern: levels joined by slashes; a level in braces is filled in.
        qos: quality of service, at most; a broker may grant less.
        retain: whether the broker keeps the last message for later subscribers.
    """

    pattern: str
    qos: Literal[0, 1]
    retain: bool

    def name(self, **levels: str) -> str:
        """Return the topic with every level filled in.

        Raises:
            ValueError: a level is not 1 to 40 of a-z, 0-9 and the hyphen.
            KeyError: one is missing.
        """
        for level in levels.values():
            if not _LEVEL.fullmatch(level):
                raise ValueError("not a valid topic level")
        return self.pattern.format(**levels)

    def topic_filter(self, **levels: str) -> str:
        """Return the topic filter, with a wildcard for each level that is not an argument."""
        names = [part[1:-1] for part in self.pattern.split("/") if part.startswith("{")]
        return self.pattern.format(**(dict.fromkeys(names, "+") | levels))

    def levels(self, topic: str) -> dict[str, str] | None:
        """Return the variable levels of ``topic``, or None if it does not match."""
        parts = topic.split("/")
        wanted = self.pattern.split("/")
        if len(parts) != len(wanted):
            return None
        found = {}
        for part, want in zip(parts, wanted, strict=True):
            if want.startswith("{"):
                if not _LEVEL.fullmatch(part):
                    return None
                found[want[1:-1]] = part
            elif part != want:
                return None
        return found


CLIP: Final = Topic("earmark/v1/clips/{owner}/{device}/{clip}", 1, retain=False)
"""Device to archive. Payload: the envelope."""
ACK: Final = Topic("earmark/v1/ack/{device}/{clip}", 1, retain=False)
"""Archive to device. Payload: ``ArchiveAnswer``."""
STATUS: Final = Topic("earmark/v1/status/{device}", 1, retain=True)
"""Device to all. Payload: JSON, ``{"state":"offline"}`` as the last will."""
EVENT: Final = Topic("earmark/v1/event/{device}", 1, retain=False)
"""Device to all. Payload: JSON with ``event_type``; no names, no scores, no sound."""
COMMAND: Final = Topic("earmark/v1/command/{device}", 1, retain=False)
"""To a device, from permitted clients. Payload: as `parse_command`. A retained command is ignored:
it is old, and would be repeated on each connection."""
RETENTION: Final = Topic("earmark/v1/retention/{owner}", 1, retain=True)
"""Archive to devices. Payload: ``retention.RetentionLimit``, signed."""
KEYS: Final = Topic("earmark/v1/keys/{device}", 1, retain=True)
"""Archive to one device. Payload: key rotations of owners, each proven by the previous key; the
archive does not verify them."""
SEQUENCE: Final = Topic("earmark/v1/sequence/{device}", 1, retain=True)
"""Archive to one device. Payload: ``sequence.AcceptedSequence``, signed."""
ASK: Final = Topic("earmark/v1/ask/{device}", 0, retain=False)
"""Device to assist, expiry 3 s. Payload: an ask, signed by hear."""
ANSWER: Final = Topic("earmark/v1/answer/{device}", 0, retain=False)
"""Assist to one device. Payload: an answer or an outcome, signed by assist, or a poke."""
SPOKEN: Final = Topic("earmark/v1/spoken/{device}/{ask}", 0, retain=False)
"""Device to assist, expiry 10 s. Payload: a command copy. QoS 0, so that no broker stores one."""
SAY: Final = Topic("earmark/v1/say/{device}", 0, retain=False)
"""Assist to one device, expiry 10 s. Payload: a reply. QoS 0, so that no broker stores one."""
ANNOUNCE: Final = Topic("earmark/v1/announce/{device}", 0, retain=False)
"""Home Assistant to assist. Payload: a text to be spoken at the device, UTF-8. QoS 0, so that no
broker stores one."""
CONSENTS: Final = Topic("earmark/v1/consents/{device}", 1, retain=True)
"""Archive to one device and to assist. Payload: consents of owners, each proven to the device; the
archive cannot verify them."""
OWNER_CHALLENGES: Final = Topic("earmark/v1/owner-challenges/{device}", 1, retain=True)
"""Device to household. Payload: ``owner_challenges.OwnerChallenges``, signed by the device."""
OWNER_ANSWERS: Final = Topic("earmark/v1/owner-answers/{device}", 1, retain=True)
"""Household to one device. Payload: answers of owners to its challenges; the household cannot
verify them."""
DISCOVERY: Final = Topic("homeassistant/device/{node}/config", 1, retain=True)
"""Household to Home Assistant. Payload: entities of a device, or empty to remove it."""

HERMES: Final = Topic("hermes/hotword/{word}/detected", 1, retain=False)
"""Device to Rhasspy and other clients of the Hermes protocol. Payload: `HotwordDetected`."""

RETAINED_COUNT: Final = "$SYS/broker/retained messages/count"
"""mosquitto's number of retained messages, decimal; `earmark doctor` reads it."""

LONGEST_ANSWER_BYTES: Final = 128
ERASED: Final = "erased"
"""Refusal of a clip that its owner erased: the device deletes it."""
REPLAY: Final = "replay"
"""Refusal of a clip whose id, ciphertext or number belongs to another one."""
_ANSWER: Final = re.compile(
    rb"(?:refused:([a-z]{1,16}):|waiting:([a-z]{1,16}):|(deferred):)?([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class ArchiveAnswer:
    """Archive's answer to an envelope: what became of it, with the hash of its bytes.

    On the wire: ``<sha256>``, ``refused:<reason>:<sha256>``, ``waiting:<reason>:<sha256>`` or
    ``deferred:<sha256>``. Devices of earlier versions ignore the last two, as they ignore every
    other payload.
    """

    sha256: str
    """SHA-256 of the whole envelope, 64 digits of lower-case hex."""
    refused: str = ""
    """Reason of a permanent refusal, one word; otherwise empty."""
    is_deferred: bool = False
    """Whether the device shall keep the clip and send none until later."""
    waiting: str = ""
    """Reason, one word, for which the device shall keep this clip and send it again later;
    otherwise empty. A reason about the clip's owner or device, or the archive's disk."""

    def encode(self) -> bytes:
        """Return the payload."""
        before = "deferred:" if self.is_deferred else ""
        before = f"refused:{self.refused}:" if self.refused else before
        before = f"waiting:{self.waiting}:" if self.waiting else before
        return (before + self.sha256).encode("ascii")


def parse_answer(payload: bytes) -> ArchiveAnswer | None:
    """Return the answer, or None for bytes that are not one."""
    match = _ANSWER.fullmatch(payload) if len(payload) <= LONGEST_ANSWER_BYTES else None
    if match is None:
        return None
    refused, waiting, deferred, sha256 = match.groups()
    return ArchiveAnswer(
        sha256.decode("ascii"),
        (refused or b"").decode("ascii"),
        deferred is not None,
        (waiting or b"").decode("ascii"),
    )


@dataclass(frozen=True, slots=True)
class ThresholdCommand:
    """Command to set the threshold of a word."""

    word: str
    threshold: float
    """0.01 to 0.99."""


@dataclass(frozen=True, slots=True)
class WordCommand:
    """Command to detect one of the configured words, or all."""

    only: str | None
    """The word; None for all."""


Command = Literal["mute", "unmute", "false-wake"] | ThresholdCommand | WordCommand
ALL_WORDS: Final = "*"
"""In a word command: all configured words. It is not the name of a word."""
LONGEST_COMMAND_BYTES: Final = 64
_COMMANDS: Final[dict[bytes, Command]] = {
    b"mute": "mute",
    b"unmute": "unmute",
    b"false-wake": "false-wake",
}
_THRESHOLD: Final = re.compile(rb"threshold:([a-z0-9-]{1,32}):(0\.[0-9]{1,4})")
_WORD: Final = re.compile(rb"word:([a-z0-9-]{1,32}|\*)")
_LEAST_THRESHOLD: Final = 0.01
_MOST_THRESHOLD: Final = 0.99


def parse_command(payload: bytes) -> Command | None:
    """Return the command, or None for bytes that are not one.

    The forms are ``mute``, ``unmute``, ``false-wake``, ``threshold:<word>:<0.01 to 0.99>``,
    ``word:<word>`` and ``word:*``.
    """
    if len(payload) > LONGEST_COMMAND_BYTES:
        return None
    if (match := _THRESHOLD.fullmatch(payload)) is not None:
        threshold = float(match[2])
        if not _LEAST_THRESHOLD <= threshold <= _MOST_THRESHOLD:
            return None
        return ThresholdCommand(match[1].decode("ascii"), threshold)
    if (match := _WORD.fullmatch(payload)) is not None:
        word = match[1].decode("ascii")
        return WordCommand(None if word == ALL_WORDS else word)
    return _COMMANDS.get(payload)


class _Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    def encode(self) -> bytes:
        """Return the payload."""
        return msgspec.json.encode(self)


class EventPayload(_Payload, frozen=True, kw_only=True, omit_defaults=True):
    """Payload of the event topic: a detection, never a transcript or a person."""

    event_type: Literal["wake", "near_miss", "mute", "command"]
    word: ShortName | None = None
    """The wake word, for ``wake`` and ``near_miss``."""
    state: Annotated[str, Meta(max_length=16)] | None = None
    """For ``mute``: ``open``, ``hardware``, ``software`` or ``fault``."""
    outcome: ShortName | None = None
    """For ``command``: how it ended; ``notices.CommandEnd``."""


class HotwordDetected(_Payload, frozen=True, kw_only=True, rename="camel"):
    """Payload of `HERMES`: a wake in the form of the Hermes protocol; never audio.

    https://rhasspy.readthedocs.io/en/latest/reference/#hotword
    """

    model_id: ShortName
    """The wake word."""
    site_id: ShortName
    """Name of the device."""
    model_version: Literal[""] = ""
    model_type: Literal["universal"] = "universal"
    current_sensitivity: Literal[1] = 1
    """Required by the protocol. The threshold is in the status."""


OFFLINE: Final = b'{"state":"offline"}'
