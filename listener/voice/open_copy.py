"""Decryption of a command copy with the command key; for assist alone."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.audio.pcm import Samples
from listener.errors import VoiceError
from listener.voice.command_copy import CommandCopy, CopyFields, CopyHeader
from listener.voice.open_sealed import open_sealed


@dataclass(frozen=True, slots=True)
class OpenedCopy:
    """An opened command copy; ``repr`` omits the sound."""

    header: CopyHeader
    fields: CopyFields
    samples: Samples
    """int16, shape (n,), 16 kHz."""

    def __repr__(self) -> str:
        """Return the public part only."""
        return f"OpenedCopy({self.header!r})"


def open_copy(
    copy: CommandCopy, device_key: Ed25519PublicKey, secret: object, assist: str
) -> OpenedCopy:
    """Verify and decrypt a command copy; compare what is inside with the header and the sound.

    The caller checks that the ask is open and the time in bounds (`timing`), that the owner is in
    the roster with the key ``okey``, and that they have not said off.

    Args:
        copy: as ``parse_copy`` returned it.
        device_key: public key of the device that the ask came from.
        secret: the command key of the ask, a ``pyrage.x25519.Identity``.
        assist: fingerprint of the service key of this assist.

    Raises:
        VoiceError: ``device``, ``signature`` or ``ciphertext``: see ``CommandCopy.verify``;
            ``key``: the header names another key; ``sealed``: it cannot be decrypted; ``content``:
            the inside contradicts the header or itself; ``assist``: the owner allowed another one.
    """
    copy.verify(device_key)
    fields, samples = open_sealed(
        copy.header, copy.header.key, copy.lines.ciphertext, CopyFields, secret
    )
    if fields.pre_ms > fields.ms:
        raise VoiceError("content")
    if fields.assist != assist:
        raise VoiceError("assist")
    return OpenedCopy(copy.header, fields, samples)
