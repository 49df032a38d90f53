"""The voiceprint of an owner: what enrolment keeps of a voice, signed by the speaker. Pure.

A voiceprint is the mean of the embeddings of a person's enrolment recordings (the centroid of
d-vector systems), with the threshold that was calibrated for it. It is biometric data. The file is
canonical JSON with an Ed25519 signature by the device's key, so that a file that was edited, copied
from another device, or renamed to another owner's is refused, as is one of another embedding model,
whose vectors mean nothing to this one.
"""

import base64
import binascii
from collections.abc import Collection
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta
from numpy.typing import NDArray

from listener.envelope import keys
from listener.envelope.format import KeyId, Moment, Sha256, ShortName
from listener.errors import ConfigError, EarmarkError
from listener.voiceprint.scoring import EnrolledVoice

EMBEDDING_DIMENSIONS: Final = 192
"""Length of a speaker embedding of the shipped model."""
LONGEST_VOICEPRINT_BYTES: Final = 4 << 10
"""Length of the longest voiceprint file that is parsed."""

_CONTEXT: Final = b"EARMARK/VOICEPRINT/1\n"
_DTYPE: Final = np.dtype("<f4")
_NORM_ERROR: Final = 1e-3
_BASE64_CHARS: Final = EMBEDDING_DIMENSIONS * _DTYPE.itemsize * 4 // 3

VectorText = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9+/]{{{_BASE64_CHARS}}}\Z")]
"""Base64 of 192 little-endian float32; see ``encode_vector``."""

VoiceprintReason = Literal["form", "signature", "device", "model", "name", "key", "owner"]
_REASONS: Final[dict[VoiceprintReason, str]] = {
    "form": "the file is not a voiceprint, or is damaged",
    "signature": "its signature is not valid: it was changed after the enrolment",
    "device": "it was made by another device, or by an earlier key of this one",
    "model": "it was made with another embedding model",
    "name": "it is the voiceprint of another owner",
    "key": "the owner had another key when it was made",
    "owner": "the owner is not in the roster, or has not confirmed their key",
}


class VoiceprintRefused(EarmarkError):
    """Voiceprint that is not used: nothing is attributed by it.

    Attributes:
        owner: name of the owner under whose name the file is stored.
        reason: the reason, one word.
    """

    exit_code = 78

    def __init__(self, owner: str, reason: VoiceprintReason) -> None:
        hint = (
            f"confirm the owner's key: earmark owner challenge {owner}"
            if reason == "owner"
            else f"enrol the voice again: earmark owner enrol {owner}"
        )
        super().__init__(f"the voiceprint of {owner} is refused: {_REASONS[reason]}", hint)
        self.owner = owner
        self.reason: VoiceprintReason = reason


class Voiceprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A voiceprint and where it counts."""

    v: Literal[1] = 1
    owner: ShortName
    """Name of the owner."""
    okey: KeyId
    """Fingerprint of the owner's active key at the enrolment."""
    device: Annotated[str, Meta(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=\Z")]
    """Public key of the device that signed it."""
    model: Sha256
    """SHA-256 of the embedding model's file."""
    vector: VectorText
    """Centroid of the enrolment, of unit norm."""
    threshold: Annotated[float, Meta(ge=0, le=1)]
    """Least cosine similarity at which speech is attributed to this owner."""
    sentences: Annotated[int, Meta(ge=1, le=1000)]
    """Number of recordings that it was made of."""
    speech_s: Annotated[float, Meta(ge=0, le=36_000)]
    """Length of speech in them, in seconds."""
    t: Moment
    """Time of the enrolment."""

    @property
    def embedding(self) -> NDArray[np.float32]:
        """Vector as float32 of shape (192,), unit norm, read-only."""
        return decode_vector(self.vector)

    @property
    def voice(self) -> EnrolledVoice:
        """What speech is compared with."""
        return EnrolledVoice(self.embedding, self.threshold)

    @property
    def device_key(self) -> Ed25519PublicKey:
        """Public key of the device that signed it.

        Raises:
            ConfigError: the text is not a key.
        """
        return keys.parse_device(self.device)

    def signed_bytes(self) -> bytes:
        """Return the bytes that the device signs."""
        return _CONTEXT + msgspec.json.encode(self, order="sorted")


def encode_vector(embedding: NDArray[np.float32]) -> str:
    """Return the text of ``Voiceprint.vector``.

    Args:
        embedding: float32 of shape (192,), not zero; it is scaled to unit norm.

    Raises:
        ValueError: another shape, zero, or not finite.
    """
    vector = np.asarray(embedding, np.float64)
    norm = float(np.linalg.norm(vector))
    if vector.shape != (EMBEDDING_DIMENSIONS,) or not np.isfinite(norm) or norm == 0:
        raise ValueError(f"a speaker embedding has {EMBEDDING_DIMENSIONS} finite numbers, not zero")
    return base64.b64encode((vector / norm).astype(_DTYPE).tobytes()).decode("ascii")


def decode_vector(text: str) -> NDArray[np.float32]:
    """Return the numbers of a ``VectorText``: float32, shape (192,), read-only; any values."""
    return np.frombuffer(base64.b64decode(text), _DTYPE).astype(np.float32, copy=False)


def encode_voiceprint(voiceprint: Voiceprint, key: Ed25519PrivateKey) -> bytes:
    """Return the content of a voiceprint's file: canonical JSON and a newline.

    Args:
        voiceprint: its ``device`` is the public key of ``key``.
        key: private key of the device.

    Raises:
        ValueError: a reader would refuse it.
    """
    if voiceprint.device != keys.device_text(key.public_key()):
        raise ValueError("a voiceprint names the device that signs it")
    data = _render(voiceprint, key.sign(voiceprint.signed_bytes()))
    try:
        parse_signed_voiceprint(data, voiceprint.owner)
    except VoiceprintRefused as error:
        raise ValueError(str(error)) from error
    return data


def parse_signed_voiceprint(data: bytes, name: str) -> Voiceprint:
    """Parse a voiceprint, and verify the signature by the device that it names.

    Nothing says that this is the device that should have signed it: see ``parse_voiceprint``.

    Args:
        data: any bytes are safe.
        name: owner under whose name the bytes were found, for the error.

    Raises:
        VoiceprintRefused: ``form`` or ``signature``. Nothing else is raised.
    """
    if len(data) > LONGEST_VOICEPRINT_BYTES:
        raise VoiceprintRefused(name, "form")
    try:
        parts = msgspec.json.decode(data, type=_SignedVoiceprint)
        signature = base64.b64decode(parts.signature, validate=True)
        voiceprint = parts.voiceprint
        device = voiceprint.device_key
        # One reading, whatever the reader: no name occurs twice, and no number has two spellings.
        is_canonical = data == _render(voiceprint, signature)
    except (ValueError, RecursionError, binascii.Error, ConfigError) as error:
        raise VoiceprintRefused(name, "form") from error
    if not is_canonical or not _has_unit_norm(voiceprint.embedding):
        raise VoiceprintRefused(name, "form")
    try:
        device.verify(signature, voiceprint.signed_bytes())
    except InvalidSignature as error:
        raise VoiceprintRefused(name, "signature") from error
    return voiceprint


def parse_voiceprint(
    data: bytes, name: str, *, okeys: Collection[str], device: Ed25519PublicKey, model: str
) -> Voiceprint:
    """Parse a voiceprint, and check that it counts for this owner, device and model.

    Args:
        data: content of the owner's file; any bytes are safe.
        name: the owner under whose name the file is stored.
        okeys: fingerprints of the owner's active and retired keys; empty if they have none.
        device: public key of this device.
        model: SHA-256 of this device's embedding model, in hex.

    Raises:
        VoiceprintRefused: it does not. Nothing else is raised.
    """
    voiceprint = parse_signed_voiceprint(data, name)
    if voiceprint.device != keys.device_text(device):
        raise VoiceprintRefused(name, "device")
    check_voiceprint(voiceprint, name, okeys=okeys, model=model)
    return voiceprint


def check_voiceprint(
    voiceprint: Voiceprint, name: str, *, okeys: Collection[str], model: str
) -> None:
    """Check that a voiceprint of any device is this owner's, by this model.

    Args:
        voiceprint: a verified one.
        name: name of the owner.
        okeys: fingerprints of the owner's active and retired keys.
        model: SHA-256 of this device's embedding model, in hex.

    Raises:
        VoiceprintRefused: it is not.
    """
    if voiceprint.owner != name:
        raise VoiceprintRefused(name, "name")
    if voiceprint.model != model:
        raise VoiceprintRefused(name, "model")
    if not okeys:
        raise VoiceprintRefused(name, "owner")
    if voiceprint.okey not in okeys:
        raise VoiceprintRefused(name, "key")


class _SignedVoiceprint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    signature: Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{86}==\Z")]
    voiceprint: Voiceprint


def _render(voiceprint: Voiceprint, signature: bytes) -> bytes:
    text = base64.b64encode(signature).decode("ascii")
    return msgspec.json.encode(_SignedVoiceprint(text, voiceprint), order="sorted") + b"\n"


def _has_unit_norm(vector: NDArray[np.float32]) -> bool:
    # A damaged file can hold NaN or a number of 3e38, whose square is no float32.
    if not (np.abs(vector) <= 1 + _NORM_ERROR).all():
        return False
    return abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) <= _NORM_ERROR
