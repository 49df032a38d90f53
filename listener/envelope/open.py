"""Decryption of an envelope with the owner's secret key; imported on the owner's side only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyrage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from listener.audio.flac_decoder import decode_samples
from listener.audio.flac_parser import parse_flac
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.verify import DeviceKeys, verify
from listener.errors import BadEnvelope, ConfigError, NotForYou
from listener.text_encoding import UTF8_MARK, NotUtf8Error, decode_text, is_utf16

IDENTITY_LIMIT_BYTES: Final = 1 << 20

_IDENTITY_HINT: Final = "pass the file that age-keygen -o wrote for the owner's public key"
_OTHER_IDENTITIES: Final = ("AGE-SECRET-KEY-PQ-1", "AGE-PLUGIN-")
"""Beginnings of keys that age knows and that no clip is sealed to: post-quantum, and plug-ins."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An owner's age key pair; ``repr`` omits the secret key."""

    recipient: str
    """The public key, ``age1…``."""
    okey: str
    """Fingerprint of the public key."""
    secret: object = field(repr=False, compare=False)
    """The secret key, pyrage's opaque object."""

    def agreement(self) -> X25519PrivateKey:
        """Return the secret key for X25519 key agreement."""
        return X25519PrivateKey.from_private_bytes(keys.age_bytes(str(self.secret)))


@dataclass(frozen=True, slots=True)
class OpenedClip:
    """A decrypted clip whose fields agree with the signed header."""

    header: form.PublicHeader
    """The public header."""
    private: form.PrivateFields
    """The private fields."""
    flac: bytes
    """FLAC file with both sets of fields in its COMMENT tag."""


def parse_identities(data: bytes, source: str) -> tuple[Identity, ...]:
    """Parse an identity file as age-keygen writes it: a secret key on each line, and # comments.

    Post-quantum and plug-in keys beside an X25519 key are skipped.

    Args:
        data: content of the file.
        source: its name for messages, which never quote its content.

    Raises:
        ConfigError: it is encrypted with a passphrase, has another content, or has no key.
    """
    data = data.removeprefix(UTF8_MARK)
    if data.lstrip().startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")):
        raise ConfigError(
            f"the identity {source} is encrypted with a passphrase",
            "decrypt it first: age -d -o me.key me.key.age",
        )
    if len(data) > IDENTITY_LIMIT_BYTES:
        raise ConfigError(f"the identity {source} is longer than {IDENTITY_LIMIT_BYTES} bytes")
    if is_utf16(data):
        raise ConfigError(
            f"the identity {source} is UTF-16 text",
            "save it as UTF-8 without a byte order mark; the key in it stays valid",
        )
    try:
        lines = decode_text(data).splitlines()
    except NotUtf8Error as error:
        raise ConfigError(f"the identity {source} is not text", _IDENTITY_HINT) from error
    identities = []
    others: list[int] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.upper().startswith(_OTHER_IDENTITIES):
            others.append(number)
        elif text and not text.startswith("#"):
            identities.append(_identity(text, f"{source}, line {number},"))
    if others and not identities:
        raise ConfigError(
            f"{source}, line {others[0]}, is not an age secret key of the kind X25519, but a"
            " post-quantum or plug-in key",
            keys.X25519_HINT,
        )
    if not identities:
        raise ConfigError(f"the identity {source} holds no key", _IDENTITY_HINT)
    return tuple(identities)


def open_envelope(
    data: bytes,
    identities: Sequence[Identity],
    devices: DeviceKeys,
    owners: Mapping[str, str | Iterable[str]],
) -> OpenedClip:
    """Verify and decrypt an envelope, and compare the inner header with the public one.

    Args:
        data: any bytes are safe.
        identities: the owner's keys, as ``parse_identities`` returns them.
        devices: as for ``verify``.
        owners: as for ``verify``.

    Raises:
        NotForYou: the envelope is valid and sealed to another key.
        BadEnvelope: anything else is wrong with it.
    """
    envelope = verify(data, devices, owners)
    matches = [identity for identity in identities if identity.okey == envelope.header.okey]
    if not matches:
        raise NotForYou("this clip is sealed to another key", "use its owner's identity")
    try:
        flac: bytes = pyrage.decrypt(envelope.ciphertext, [matches[0].secret])
    except pyrage.DecryptError as error:
        raise BadEnvelope(
            "the ciphertext cannot be decrypted with the key named in the header"
        ) from error
    header, private = _check_clip(flac)
    if header != envelope.header:
        raise BadEnvelope("the header inside the clip differs from the public header")
    return OpenedClip(header, private, flac)


def _identity(line: str, where: str) -> Identity:
    try:
        secret = pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError as error:
        raise ConfigError(f"{where} is not an age secret key", _IDENTITY_HINT) from error
    recipient = str(secret.to_public())
    return Identity(recipient, keys.owner_id(recipient), secret)


def _check_clip(flac: bytes) -> tuple[form.PublicHeader, form.PrivateFields]:
    """Return the fields inside a clip, after checking that its audio agrees with them."""
    # libsndfile and libFLAC see a file only after this parser: they accept several comments, blocks
    # of any kind and bytes between frames, and their headers can claim gigabytes.
    try:
        parsed = parse_flac(flac)
    except ValueError as error:
        raise BadEnvelope(f"the FLAC file of the decrypted clip is not valid: {error}") from error
    header, private = form.parse_comment(parsed.comment.encode())
    if (parsed.rate_hz, parsed.samples * 1000 // parsed.rate_hz) != (private.rate, private.ms):
        raise BadEnvelope("the clip's audio contradicts its fields")
    try:
        decode_samples(flac, parsed)
    except ValueError as error:
        raise BadEnvelope("the decrypted clip is a damaged FLAC file") from error
    return header, private
