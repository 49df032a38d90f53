"""Verification of an envelope with public keys: by the archive, or by anyone with the roster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener import digests
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import check_age
from listener.errors import BadEnvelope


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A device's public key, and the last envelope that is accepted of it."""

    key: Ed25519PublicKey
    last_seq: int | None = None
    """Highest sequence number that is accepted; None without a limit. A retired key has one."""


DeviceKeys: TypeAlias = Mapping[str, Ed25519PublicKey | Iterable[TrustedKey]]
"""Public keys by device name: one, or several if some are retired."""


def verify(
    data: bytes, devices: DeviceKeys, owners: Mapping[str, str | Iterable[str]]
) -> form.Envelope:
    """Return the envelope if a known device signed it for a known owner.

    The ciphertext is not parsed before the signature is verified. The caller checks that the clip
    is not a replay and not erased, and that the topic agrees with the header.

    Args:
        data: any bytes are safe.
        devices: public keys by device name.
        owners: public keys of active owners by owner name, as ``keys.parse_recipient`` returns
            them: one, or several if some are retired.

    Raises:
        BadEnvelope: for any other bytes. Nothing else is raised.
    """
    envelope = verify_device(data, devices)
    if not matches_owner(envelope.header, owners):
        raise BadEnvelope("the roster has no active owner of this name and key")
    return envelope


def verify_device(data: bytes, devices: DeviceKeys) -> form.Envelope:
    """Return the envelope if a known device signed it, for any owner.

    Args:
        data: any bytes are safe.
        devices: public keys by device name.

    Raises:
        BadEnvelope: for any other bytes. Nothing else is raised.
    """
    envelope = form.parse_envelope(data)
    header = envelope.header
    trusted = _find_key(header, devices)
    if trusted is None:
        raise BadEnvelope("the roster has no device of this name and key")
    if trusted.last_seq is not None and header.seq > trusted.last_seq:
        raise BadEnvelope("its number is above the last one accepted of this retired key")
    if not is_signed(envelope, trusted.key):
        raise BadEnvelope("the device's signature is not valid")
    check_ciphertext(envelope)
    return envelope


def is_signed(sealed: form.Envelope | form.SealedLines, key: Ed25519PublicKey) -> bool:
    """Return whether the signature of a sealed file is valid under a key."""
    try:
        key.verify(sealed.signature, sealed.signed)
    except InvalidSignature:
        return False
    return True


def check_ciphertext(sealed: form.Envelope | form.SealedLines) -> None:
    """Check that the ciphertext is the signed one and has exactly one X25519 recipient.

    Raises:
        BadEnvelope: it is another one.
    """
    actual = form.Seal(bytes=len(sealed.ciphertext), sha256=digests.sha256(sealed.ciphertext).hex())
    if actual != sealed.seal:
        raise BadEnvelope("the ciphertext differs from the signed one")
    check_age(sealed.ciphertext)


def matches_owner(header: form.PublicHeader, owners: Mapping[str, str | Iterable[str]]) -> bool:
    """Return whether the owner named in a header has the key named in it.

    Args:
        header: of any envelope; it need not be verified.
        owners: as for ``verify``.
    """
    recipients = owners.get(header.owner, ())
    known = (recipients,) if isinstance(recipients, str) else recipients
    return any(keys.owner_id(recipient) == header.okey for recipient in known)


def _find_key(header: form.PublicHeader, devices: DeviceKeys) -> TrustedKey | None:
    """Return the key that a header names, if the device has it."""
    known = devices.get(header.device, ())
    candidates = (TrustedKey(known),) if isinstance(known, Ed25519PublicKey) else known
    return next(
        (trusted for trusted in candidates if keys.device_id(trusted.key) == header.dkey), None
    )
