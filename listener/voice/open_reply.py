"""Decryption of a reply with the reply key of an ask; for the player alone."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.audio.pcm import Samples
from listener.voice.open_sealed import open_sealed
from listener.voice.reply import ReplyFields, ReplyHeader, SealedReply


@dataclass(frozen=True, slots=True)
class OpenedReply:
    """An opened reply; ``repr`` omits the sound."""

    header: ReplyHeader
    samples: Samples
    """int16, shape (n,), mono."""
    rate_hz: int

    def __repr__(self) -> str:
        """Return the public part only."""
        return f"OpenedReply({self.header!r})"


def open_reply(reply: SealedReply, assist_key: Ed25519PublicKey, secret: object) -> OpenedReply:
    """Verify and decrypt a reply; compare what is inside with the header and the sound.

    The caller checks that the reply belongs to its latest ask and this device, that it is the first
    one, that the time is in bounds (`timing.may_play`), and that the speaker is not muted.

    Args:
        reply: as ``parse_reply`` returned it.
        assist_key: the service key that the owner allowed.
        secret: the reply key of the ask, a ``pyrage.x25519.Identity``.

    Raises:
        VoiceError: ``signature`` or ``ciphertext``: see ``SealedReply.verify``; ``key``: the header
            names another key; ``sealed``: it cannot be decrypted; ``content``: the inside
            contradicts the header or itself.
    """
    reply.verify(assist_key)
    fields, samples = open_sealed(
        reply.header, reply.header.key, reply.lines.ciphertext, ReplyFields, secret
    )
    return OpenedReply(reply.header, samples, fields.rate)
