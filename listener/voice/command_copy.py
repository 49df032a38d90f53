"""Command copy: one command, sealed to a key that assist made for one ask. Pure.

Sealing and verification from outside; ``open_copy`` decrypts.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from listener.audio.pcm import Samples
from listener.envelope import format as form
from listener.envelope import keys
from listener.errors import VoiceError
from listener.voice import sealed_file
from listener.voice.fields import AskId, ConsentNumber, Fingerprint, Flag
from listener.voice.limits import LONGEST_COMMAND_MS, LONGEST_PRE_ROLL_MS, MOST_PARTS
from listener.voice.timing import LONGEST_AGE_MS

MAGIC: Final = b"EARMARK-COMMAND/1\n"
RATE_HZ: Final = 16_000


class CopyHeader(form.Fields, frozen=True, kw_only=True):
    """The public header of a command copy. It has nothing that an archive could store it by."""

    age_ms: Annotated[int, Meta(ge=0, le=LONGEST_AGE_MS)]
    """Time from the ask to the sealing, on the speaker's clock, rounded down."""
    ask: AskId
    codec: Literal["flac"] = "flac"
    device: form.ShortName
    dkey: Fingerprint
    """Fingerprint of the device's key, which signs."""
    key: Fingerprint
    """Fingerprint of the command key; see ``sealed_file.key_id``."""
    last: Flag
    """1 if no further part follows."""
    part: Annotated[int, Meta(ge=1, le=MOST_PARTS)]
    v: Literal[1] = 1


class CopyFields(sealed_file.SoundFields, frozen=True, kw_only=True):
    """The private fields of a command copy. No score, likeness, model or boot id is among them."""

    assist: Fingerprint
    """Fingerprint of the service key that the owner allowed."""
    ms: Annotated[int, Meta(ge=1, le=LONGEST_COMMAND_MS)]
    """Length of the sound, rounded down."""
    n: ConsentNumber
    """Number of the owner's consent."""
    okey: Fingerprint
    """Fingerprint of the owner's active key."""
    owner: form.ShortName
    pre_ms: Annotated[int, Meta(ge=0, le=LONGEST_PRE_ROLL_MS)]
    """Part of the sound before the wake, in ms."""
    rate: Literal[16_000] = RATE_HZ
    word: form.ShortName
    """Name of the wake word."""


@dataclass(frozen=True, slots=True)
class CommandCopy:
    """A well-formed command copy; untrusted until ``verify`` has returned."""

    header: CopyHeader
    lines: form.SealedLines

    def verify(self, public_key: Ed25519PublicKey) -> None:
        """Check that this device signed the copy, without opening it.

        Args:
            public_key: of the device that the header names.

        Raises:
            VoiceError: ``device``: the header names another key; ``signature``; ``ciphertext``: it
                is not the signed one, or has not exactly one X25519 recipient.
        """
        if self.header.dkey != keys.device_id(public_key):
            raise VoiceError("device")
        sealed_file.check(self.lines, public_key)


def seal_copy(
    header: CopyHeader,
    private: CopyFields,
    samples: Samples,
    recipient: str,
    device_key: Ed25519PrivateKey,
) -> bytes:
    """Return a command copy.

    Args:
        header: public header; ``key`` must be the recipient's, ``dkey`` the device key's.
        private: private fields; ``ms`` must be the length of the samples.
        samples: int16, shape (n,), 16 kHz, at most 15 s.
        recipient: the command key of the answer, ``age1…``.
        device_key: key of the device, which signs.

    Raises:
        VoiceError: ``device`` or ``key``: the header names another one; ``content``: the samples
            contradict the fields; ``form``: a field is out of its range. Nothing was sealed.
    """
    if header.dkey != keys.device_id(device_key.public_key()):
        raise VoiceError("device")
    if header.key != sealed_file.key_id(recipient):
        raise VoiceError("key")
    if private.ms != len(samples) * 1000 // RATE_HZ or private.pre_ms > private.ms:
        raise VoiceError("content")
    return sealed_file.build(
        MAGIC, header, private, samples=samples, recipient=recipient, key=device_key
    )


def parse_copy(data: bytes) -> CommandCopy:
    """Parse a command copy; verify nothing.

    Args:
        data: any bytes are safe.

    Raises:
        VoiceError: ``form``: the bytes are not a command copy. Nothing else is raised.
    """
    header, lines = sealed_file.parse(data, MAGIC, CopyHeader)
    return CommandCopy(header, lines)
