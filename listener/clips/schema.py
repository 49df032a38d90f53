"""Response schemas of the client. Pure.

Responses are untrusted. Unknown fields are ignored, so that a newer archive is understood; one
invalid field makes the whole response invalid.
"""

import base64
from typing import Annotated, Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from listener.envelope.format import ClipId, KeyId, Moment, Sha256, ShortName
from listener.envelope.keys import parse_device
from listener.envelope.verify import TrustedKey
from listener.errors import Unavailable, VoiceError
from listener.voice.consent import Consent
from listener.voice.fields import SignatureText
from listener.voice.messages import SignedMessage, VoiceStatus

ANSWER_LIMIT_BYTES: Final = 8 << 20
_Count = Annotated[int, Meta(ge=0, le=1 << 53)]
_KeyText = Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A response or a part of one."""


class TicketReply(_Reply, frozen=True, kw_only=True):
    """A ticket and its challenge, encrypted to the owner's key."""

    ticket: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,15000}\Z")]
    challenge: Annotated[str, Meta(max_length=4096)]
    new_challenge: Annotated[str, Meta(max_length=4096)] | None = None


class ErrorReply(_Reply, frozen=True, kw_only=True):
    """An error: its word, message and hint."""

    error: Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
    message: Annotated[str, Meta(max_length=1000)]
    hint: Annotated[str, Meta(max_length=1000)] = ""


class ListedClip(_Reply, frozen=True, kw_only=True):
    """A clip, with the fields of its public header."""

    clip: ClipId
    device: ShortName
    seq: _Count
    t: Moment
    ttl_s: _Count
    size_bytes: _Count
    received: _Count
    expires: _Count


class ListReply(_Reply, frozen=True, kw_only=True):
    """A page of clips."""

    clips: Annotated[tuple[ListedClip, ...], Meta(max_length=1000)]
    next: Annotated[str, Meta(pattern=r"^[0-9TZ:.-]{24}/[0-9a-f-]{36}\Z")] | None = None
    quarantined: Annotated[int, Meta(ge=0)] = 0
    """Files in the requester's name that do not verify; earlier archives count none."""


class RetentionReply(_Reply, frozen=True, kw_only=True):
    """Retention limit of an owner in days; None if only each clip's ``ttl_s`` applies."""

    owner: ShortName
    days: _Count | None = None


class RetiredKey(_Reply, frozen=True, kw_only=True):
    """Key of a speaker that was removed or replaced; nothing new is accepted of it."""

    name: ShortName
    key: _KeyText
    retired: _Count
    """Time of the removal, seconds since 1970."""
    last_seq: _Count | None = None
    """Highest number that the archive accepted of the key."""

    def trusted(self) -> TrustedKey:
        """Return the key with its bound.

        Raises:
            ConfigError: it is not a device's public key.
        """
        return TrustedKey(parse_device(self.key), self.last_seq)


class KeysReply(_Reply, frozen=True, kw_only=True):
    """Keys of the owner and of the devices."""

    owner: ShortName
    active: KeyId
    retired: tuple[KeyId, ...] = ()
    devices: dict[ShortName, _KeyText] = {}
    retired_devices: Annotated[tuple[RetiredKey, ...], Meta(max_length=10_000)] = ()
    sealed_to: dict[ShortName, KeyId | None] = {}
    """Key of the owner's newest clip from each device, or None."""
    forwarded: tuple[ShortName, ...] | None = None
    """Devices to which the archive forwards the proof of the active key; None from an older
    archive, which forwards it to every device."""


class SignedStatus(_Reply, frozen=True, kw_only=True):
    """The consent that a speaker follows, with the speaker's signature."""

    signature: SignatureText
    voice: VoiceStatus

    def verify(self, owner: str, device: str, key: Ed25519PublicKey) -> VoiceStatus | None:
        """Return the status if the speaker signed it for this owner, else None.

        Args:
            owner: name of the owner.
            device: name of the speaker.
            key: public key of the speaker.
        """
        if (self.voice.owner, self.voice.device) != (owner, device):
            return None
        try:
            return SignedMessage(self.voice, base64.b64decode(self.signature)).verify(key)
        except VoiceError:
            return None


class VoiceReply(_Reply, frozen=True, kw_only=True):
    """The owner's stored consents to voice control, and what the speakers follow; unverified."""

    owner: ShortName
    consents: Annotated[tuple[Consent, ...], Meta(max_length=10_000)] = ()
    forwarded: tuple[ShortName, ...] = ()
    """Speakers to which the archive forwards the owner's consent."""
    status: dict[ShortName, SignedStatus] = {}
    """What each speaker signed about the consent that it follows."""


class ArchiveReply(_Reply, frozen=True, kw_only=True):
    """Public key of the archive and signed head of its access log."""

    archive: _KeyText
    head: dict[str, Any]


class LogReply(_Reply, frozen=True, kw_only=True):
    """A page of the access log."""

    rows: Annotated[list[dict[str, Any]], Meta(max_length=1000)]
    before: Sha256
    head: dict[str, Any]
    next: _Count | None = None


class LeftOutFile(_Reply, frozen=True, kw_only=True):
    """A stored file that an export does not contain because it verifies for no owner."""

    clip: ClipId
    reason: Annotated[str, Meta(max_length=1000)] = ""


class ManifestLine(_Reply, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of an export's manifest: one clip."""

    clip: ClipId
    device: ShortName
    seq: _Count
    t: Moment
    ttl_s: _Count
    okey: KeyId
    bytes: _Count
    sha256: Sha256


_Any = TypeVar("_Any")


def parse(data: bytes, kind: type[_Any]) -> _Any:
    """Parse a response.

    Args:
        data: any bytes.
        kind: schema of the response.

    Raises:
        Unavailable: the data does not match the schema; no other error is raised.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            "the archive's answer is malformed",
            "check --archive, and update Earmark if the versions differ",
        ) from error


def sanitize(text: str) -> str:
    """Return untrusted text as one printable line of at most 300 characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:300]).strip()
