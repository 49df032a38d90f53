"""Open an envelope with its owner's secret key: on the owner's side, and nowhere else."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pyrage
import soundfile
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, ConfigError, NotForYou

IDENTITY_LIMIT_BYTES: Final = 1 << 20
FLAC_MAGIC: Final = b"fLaC"


@dataclass(frozen=True, slots=True)
class Identity:
    """An owner's key pair. The secret half shows in no representation."""

    recipient: str
    """The public half, ``age1…``."""
    okey: str
    """Its fingerprint."""
    secret: object = field(repr=False, compare=False)
    """pyrage's own object, opaque."""

    def agreement(self) -> X25519PrivateKey:
        """Return the secret half as what agrees with another's key on a secret."""
        return X25519PrivateKey.from_private_bytes(keys.age_bytes(str(self.secret)))


@dataclass(frozen=True, slots=True)
class OpenedClip:
    """A clip in the clear, whose tag is what the device signed."""

    header: form.PublicHeader
    private: form.PrivateFields
    flac: bytes
    """A FLAC file whose COMMENT tag holds both sets of fields."""


def parse_identities(data: bytes, source: str) -> tuple[Identity, ...]:
    """Read an identity file as age-keygen writes it: secret keys a line each, and # comments.

    Args:
        data: the file.
        source: where it came from, for messages, which never repeat what the file says.

    Raises:
        ConfigError: it is encrypted with a passphrase, holds something else, or holds no key.
    """
    if data.lstrip().startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")):
        raise ConfigError(
            f"the identity {source} is encrypted with a passphrase",
            "decrypt it first: age -d -o me.key me.key.age",
        )
    if len(data) > IDENTITY_LIMIT_BYTES:
        raise ConfigError(f"the identity {source} is longer than {IDENTITY_LIMIT_BYTES} bytes")
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the identity {source} is not text", _IDENTITY_HINT) from error
    found = [
        _identity(line.strip(), f"{source}, line {number},")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise ConfigError(f"the identity {source} holds no key", _IDENTITY_HINT)
    return tuple(found)


def open_envelope(
    data: bytes,
    identities: Sequence[Identity],
    devices: Mapping[str, Ed25519PublicKey],
    owners: Mapping[str, str | Iterable[str]],
) -> OpenedClip:
    """Verify, decrypt and compare the inner header with the outer.

    Args:
        data: any bytes at all.
        identities: the owner's keys, as ``parse_identities`` returns them.
        devices: as for ``verify``.
        owners: as for ``verify``.

    Raises:
        NotForYou: the envelope is sound, and sealed to somebody else's key.
        BadEnvelope: anything else is wrong with it. Nothing of it is returned then.
    """
    envelope = verify(data, devices, owners)
    mine = [identity for identity in identities if identity.okey == envelope.header.okey]
    if not mine:
        raise NotForYou("this clip is sealed to another key", "use its owner's identity")
    try:
        flac: bytes = pyrage.decrypt(envelope.ciphertext, [mine[0].secret])
    except pyrage.DecryptError as error:
        raise BadEnvelope(
            "the ciphertext cannot be decrypted with the key named in the header"
        ) from error
    header, private = _check_clip(flac)
    if header != envelope.header:
        raise BadEnvelope("the header inside the clip differs from the public header")
    return OpenedClip(header, private, flac)


_IDENTITY_HINT: Final = "make one: age-keygen -o me.key"


def _identity(line: str, where: str) -> Identity:
    try:
        secret = pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError as error:
        raise ConfigError(f"{where} is not an age secret key", _IDENTITY_HINT) from error
    recipient = str(secret.to_public())
    return Identity(recipient, keys.owner_id(recipient), secret)


def _check_clip(flac: bytes) -> tuple[form.PublicHeader, form.PrivateFields]:
    """Return the fields inside a clip; refuse one that does not play, or not as they say."""
    # libsndfile guesses the format; without this, any of its many parsers could be reached.
    if not flac.startswith(FLAC_MAGIC):
        raise BadEnvelope("the decrypted clip is not a FLAC file")
    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            header, private = form.parse_comment(file.comment.encode("utf-8", "replace"))
            # Before anything is decoded: a FLAC can claim gigabytes.
            told = (private.rate, 1, private.ms)
            found = (file.samplerate, file.channels, file.frames * 1000 // file.samplerate)
            if found != told or len(file.read(dtype="int16")) != file.frames:
                raise BadEnvelope("the clip's audio contradicts its fields")
    except (soundfile.SoundFileError, ValueError) as error:
        raise BadEnvelope("the decrypted clip is a damaged FLAC file") from error
    return header, private
