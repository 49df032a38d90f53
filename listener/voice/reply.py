"""Reply: a sound for one speaker, sealed to the key that its player made for one ask. Pure.

Sealing and verification from outside; ``open_reply`` decrypts.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener.audio.pcm import Samples
from listener.envelope import format as form
from listener.errors import VoiceError
from listener.voice import sealed_file
from listener.voice.fields import AskId, Fingerprint
from listener.voice.limits import LONGEST_REPLY_MS
from listener.voice.timing import LONGEST_REPLY_AGE_MS

MAGIC: Final = b"EARMARK-REPLY/1\n"


class ReplyHeader(form.Fields, frozen=True, kw_only=True):
    """The public header of a reply."""

    age_ms: Annotated[int, Meta(ge=0, le=LONGEST_REPLY_AGE_MS)]
    """Time from the answer to the sealing, on assist's clock, rounded down."""
    ask: AskId
    codec: Literal["flac"] = "flac"
    device: form.ShortName
    key: Fingerprint
    """Fingerprint of the reply key of the ask; see ``sealed_file.key_id``."""
    v: Literal[1] = 1


class ReplyFields(sealed_file.SoundFields, frozen=True, kw_only=True):
    """The private fields of a reply."""

    ms: Annotated[int, Meta(ge=1, le=LONGEST_REPLY_MS)]
    """Length of the sound, rounded down."""
    rate: Annotated[int, Meta(ge=8_000, le=48_000)]
    """Sample rate in Hz."""


@dataclass(frozen=True, slots=True)
class SealedReply:
    """A well-formed reply; untrusted until ``verify`` has returned."""

    header: ReplyHeader
    lines: form.SealedLines

    def verify(self, public_key: Ed25519PublicKey) -> None:
        """Check that assist signed the reply, without opening it.

        Args:
            public_key: the service key that the owner allowed.

        Raises:
            VoiceError: ``signature``; ``ciphertext``: it is not the signed one, or has not exactly
                one X25519 recipient.
        """
        sealed_file.check(self.lines, public_key)


def seal_reply(
    header: ReplyHeader,
    samples: Samples,
    rate_hz: int,
    recipient: str,
    assist_key: Ed25519PrivateKey,
) -> bytes:
    """Return a reply.

    Args:
        header: public header; ``key`` must be the recipient's.
        samples: int16, shape (n,), mono.
        rate_hz: sample rate, 8,000 to 48,000.
        recipient: the reply key of the ask, ``age1…``.
        assist_key: the service key, which signs.

    Raises:
        VoiceError: ``key``: the header names another one; ``form``: a field is out of its range,
            or the sound is longer than 30 s or 512 KiB. Nothing was sealed.
    """
    if header.key != sealed_file.key_id(recipient):
        raise VoiceError("key")
    if not rate_hz:
        raise VoiceError("form")
    private = ReplyFields(ms=len(samples) * 1000 // rate_hz, rate=rate_hz)
    return sealed_file.build(
        MAGIC, header, private, samples=samples, recipient=recipient, key=assist_key
    )


def parse_reply(data: bytes) -> SealedReply:
    """Parse a reply; verify nothing.

    Args:
        data: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are not a reply. Nothing else is raised.
    """
    header, lines = sealed_file.parse(data, MAGIC, ReplyHeader)
    return SealedReply(header, lines)
