"""Decryption of a command copy or a reply, and the checks of its content."""

from typing import TypeVar

import msgspec
import pyrage

from listener.audio.flac_decoder import decode_samples
from listener.audio.flac_parser import parse_flac
from listener.audio.pcm import Samples
from listener.envelope import format as form
from listener.errors import BadEnvelope, VoiceError
from listener.voice import sealed_file
from listener.voice.limits import FILL_BYTES
from listener.voice.sealed_file import COMMENT_LIMIT_BYTES, SoundFields

_PrivateT = TypeVar("_PrivateT", bound=SoundFields)


def open_sealed(
    header: form.Fields,
    key: str,
    ciphertext: bytes,
    private: type[_PrivateT],
    secret: object,
) -> tuple[_PrivateT, Samples]:
    """Decrypt a verified file; return its private fields and its sound.

    Args:
        header: its header.
        key: fingerprint of the recipient, from the header.
        ciphertext: the caller has verified it.
        private: type of the private fields.
        secret: the secret key, a ``pyrage.x25519.Identity``.

    Returns:
        The private fields, and the samples, int16, shape (n,).

    Raises:
        VoiceError: ``key``: the header names another key; ``sealed``: it cannot be decrypted;
            ``content``: the fields inside contradict the header or the sound, or the sound is
            damaged.
    """
    if not isinstance(secret, pyrage.x25519.Identity):
        raise TypeError("the secret key must be a pyrage.x25519.Identity")
    if key != sealed_file.key_id(str(secret.to_public())):
        raise VoiceError("key")
    try:
        flac: bytes = pyrage.decrypt(ciphertext, [secret])
    except pyrage.DecryptError as error:
        raise VoiceError("sealed") from error
    try:
        parsed = parse_flac(flac)
        fields = _read_comment(parsed.comment.encode(), header, private)
        if (
            len(flac) % FILL_BYTES
            or parsed.rate_hz != fields.rate
            or parsed.samples * 1000 // parsed.rate_hz != fields.ms
        ):
            raise VoiceError("content")
        return fields, decode_samples(flac, parsed)
    except (BadEnvelope, ValueError, RecursionError) as error:
        raise VoiceError("content") from error


def _read_comment(text: bytes, header: form.Fields, private: type[_PrivateT]) -> _PrivateT:
    """Return the private fields of a comment whose other fields are those of the header.

    Raises:
        BadEnvelope, ValueError: it is not these fields in canonical JSON.
    """
    if len(text) > COMMENT_LIMIT_BYTES:
        raise ValueError("the comment is too long")
    values = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    inside = {name: values[name] for name in private.__struct_fields__ if name in values}
    fields = form.read_fields(form.encode_object(inside), private, "comment")
    if sealed_file.encode_comment(header, fields) != text:
        raise ValueError("the comment contradicts the header or is not canonical JSON")
    return fields
