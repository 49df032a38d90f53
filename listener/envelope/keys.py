"""Public keys, their text forms and their fingerprints, and the device's own signing key.

Nothing here can open an envelope: owners' secret keys are the business of ``open`` alone.
"""

import base64
import binascii
import hashlib
from typing import Final

import pyrage
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.errors import ConfigError

DEVICE_PREFIX: Final = "ed25519:"
FINGERPRINT_BYTES: Final = 15  # 120 bits, 24 characters of base32 without padding


def fingerprint(data: bytes) -> str:
    """Return 24 characters of a-z and 2-7 that stand for ``data``, fit for topics and files."""
    return base64.b32encode(hashlib.sha256(data).digest()[:FINGERPRINT_BYTES]).decode().lower()


def owner_id(recipient: str) -> str:
    """Return an owner's ``okey``: the fingerprint of her public key's text.

    Args:
        recipient: as ``parse_recipient`` returns it.
    """
    return fingerprint(recipient.encode())


def device_id(key: Ed25519PublicKey) -> str:
    """Return a device's ``dkey``: the fingerprint of its 32 public bytes."""
    return fingerprint(key.public_bytes_raw())


def parse_recipient(text: str) -> str:
    """Return an owner's public key in its one spelling, ``age1…`` in lower case.

    Raises:
        ConfigError: it is no X25519 age key. The message never repeats the text, which might be
            a secret pasted by mistake.
    """
    text = text.strip()
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ConfigError(
            "this is a secret key, where a public one belongs",
            "it was in plain sight: make a new one with age-keygen and give its age1… line",
        )
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError as error:
        raise ConfigError(
            "this is not an age public key",
            "it begins with age1 and has 62 characters; age-keygen -y me.key prints it",
        ) from error


def device_text(key: Ed25519PublicKey) -> str:
    """Return a device's public key as people carry it: ``ed25519:`` and 44 of base64."""
    return DEVICE_PREFIX + base64.b64encode(key.public_bytes_raw()).decode()


def parse_device(text: str) -> Ed25519PublicKey:
    """Read what ``device_text`` wrote.

    Raises:
        ConfigError: it is anything else.
    """
    text = text.strip()
    try:
        raw = base64.b64decode(text.removeprefix(DEVICE_PREFIX), validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError) as error:
        raise ConfigError("this is not a device's key", _DEVICE_HINT) from error
    if device_text(key) != text:
        raise ConfigError("this is not a device's key", _DEVICE_HINT)
    return key


_DEVICE_HINT: Final = (
    "it begins with ed25519: and the device prints it: earmark household this-device"
)


def device_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the device's secret key as unencrypted PKCS 8 PEM, which openssl reads too."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def parse_device_pem(data: bytes, source: str) -> Ed25519PrivateKey:
    """Read the device's secret key.

    Args:
        data: what ``device_pem`` wrote.
        source: where it came from, for the message.

    Raises:
        ConfigError: it is damaged, encrypted or a key of another kind.
    """
    hint = "restore it, or remove it to make this a new device that must be made known again"
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the device key {source} is damaged", hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the device key {source} is not an Ed25519 key", hint)
    return key
