"""Check an envelope without any secret: what the archive, or anyone with the roster, can do."""

from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener import digests
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import check_age
from listener.errors import BadEnvelope


def verify(
    data: bytes, devices: Mapping[str, Ed25519PublicKey], owners: Mapping[str, str | Iterable[str]]
) -> form.Envelope:
    """Return the envelope if a known device sealed it, as it stands, for a known owner.

    Nothing of the ciphertext is looked at before the signature holds. What remains for the caller:
    that the clip is not a replay and not erased, and that the topic says what the header says.

    Args:
        data: any bytes at all.
        devices: public keys by device name.
        owners: public keys of active owners by owner name, as ``keys.parse_recipient`` spells them;
            one each, or several where some are retired.

    Raises:
        BadEnvelope: for any other bytes. Nothing else is ever raised.
    """
    envelope = verify_device(data, devices)
    if not matches_owner(envelope.header, owners):
        raise BadEnvelope("the roster has no active owner of this name and key")
    return envelope


def verify_device(data: bytes, devices: Mapping[str, Ed25519PublicKey]) -> form.Envelope:
    """Return the envelope if a known device sealed it, as it stands, for whomever.

    Args:
        data: any bytes at all.
        devices: public keys by device name.

    Raises:
        BadEnvelope: for any other bytes. Nothing else is ever raised.
    """
    envelope = form.parse_envelope(data)
    header = envelope.header
    device_key = devices.get(header.device)
    if device_key is None or keys.device_id(device_key) != header.dkey:
        raise BadEnvelope("the roster has no device of this name and key")
    try:
        device_key.verify(envelope.signature, envelope.signed)
    except InvalidSignature as error:
        raise BadEnvelope("the device's signature is not valid") from error
    found = form.Seal(
        bytes=len(envelope.ciphertext), sha256=digests.sha256(envelope.ciphertext).hex()
    )
    if found != envelope.seal:
        raise BadEnvelope("the ciphertext differs from the signed one")
    check_age(envelope.ciphertext)
    return envelope


def matches_owner(header: form.PublicHeader, owners: Mapping[str, str | Iterable[str]]) -> bool:
    """Say whether the owner that a header names has the key that it names.

    Args:
        header: of any envelope; whether it is true, ``verify`` says.
        owners: as for ``verify``.
    """
    recipients = owners.get(header.owner, ())
    known = (recipients,) if isinstance(recipients, str) else recipients
    return any(keys.owner_id(recipient) == header.okey for recipient in known)
