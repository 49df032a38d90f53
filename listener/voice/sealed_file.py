"""Common form of command copies and replies: four lines and an age file, as in an envelope. Pure.

The first line differs for each kind, so that each reader of another kind stops there, and the
signature covers it.
"""

from typing import Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audio.flac import to_flac
from listener.audio.pcm import Samples
from listener.envelope import format as form
from listener.envelope import keys, seal, verify
from listener.errors import BadEnvelope, ConfigError, VoiceError
from listener.voice.limits import FILL_BYTES, LONGEST_CIPHERTEXT_BYTES, LONGEST_FILE_BYTES

COMMENT_LIMIT_BYTES: Final = 2048


class SoundFields(form.Fields, frozen=True, kw_only=True):
    """Private fields that both kinds have."""

    ms: int
    """Length of the sound in ms, rounded down."""
    rate: int
    """Sample rate in Hz."""


_FieldsT = TypeVar("_FieldsT", bound=form.Fields)


def parse(data: bytes, magic: bytes, kind: type[_FieldsT]) -> tuple[_FieldsT, form.SealedLines]:
    """Return the header and the lines of a file; verify nothing.

    Args:
        data: any bytes are safe.
        magic: first line of this kind of file, with its newline.
        kind: type of its header.

    Raises:
        VoiceError: ``form``: the bytes are not such a file. Nothing else is raised.
    """
    try:
        lines = form.parse_lines(data, magic, LONGEST_FILE_BYTES)
        header = form.read_fields(lines.header, kind, "header")
    except BadEnvelope as error:
        raise VoiceError("form") from error
    if lines.seal.bytes > LONGEST_CIPHERTEXT_BYTES:
        raise VoiceError("form")
    return header, lines


def check(lines: form.SealedLines, key: Ed25519PublicKey) -> None:
    """Check the signature, then that the ciphertext is the signed one with one recipient.

    Raises:
        VoiceError: ``signature`` or ``ciphertext``.
    """
    if not verify.is_signed(lines, key):
        raise VoiceError("signature")
    try:
        verify.check_ciphertext(lines)
    except BadEnvelope as error:
        raise VoiceError("ciphertext") from error


def build(  # noqa: PLR0913 - header, fields, sound and two keys meet here
    magic: bytes,
    header: form.Fields,
    private: SoundFields,
    *,
    samples: Samples,
    recipient: str,
    key: Ed25519PrivateKey,
) -> bytes:
    """Return a file: the sound with both sets of fields, encrypted to one key, and signed.

    Args:
        magic: first line of this kind of file, with its newline.
        header: public header.
        private: private fields, with the sample rate.
        samples: int16, shape (n,), n at least 1.
        recipient: public key that alone can open it, ``age1…``.
        key: signs.

    Raises:
        VoiceError: ``form``: a field is out of its range or the sound is too long; ``key``: the
            recipient is not a key. Nothing was sealed.
    """
    for fields in (header, private):
        try:
            form.read_fields(form.canonical_json(fields), type(fields), "fields")
        except BadEnvelope as error:
            raise VoiceError("form") from error
    comment = encode_comment(header, private).decode("ascii")
    try:
        ciphertext = seal.encrypt_to(recipient, to_flac(samples, private.rate, comment, FILL_BYTES))
    except ConfigError as error:
        raise VoiceError("key") from error
    if len(ciphertext) > LONGEST_CIPHERTEXT_BYTES:
        raise VoiceError("form")
    return seal.sign_ciphertext(magic, header, ciphertext, key)


def encode_comment(header: form.Fields, private: form.Fields) -> bytes:
    """Return the comment inside: both sets of fields in one canonical object."""
    both: dict[str, Any] = msgspec.structs.asdict(header) | msgspec.structs.asdict(private)
    return form.encode_object({name: form.encode_value(value) for name, value in both.items()})


def key_id(recipient: str) -> str:
    """Return the fingerprint of an age public key, as headers name it."""
    return keys.owner_id(recipient)
