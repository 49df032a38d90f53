"""Public keys, their text forms and their fingerprints, and the device's own signing key.

Nothing here can open an envelope: owners' secret keys are the business of ``open`` alone.
"""

import base64
import binascii
from typing import Final

import pyrage
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from listener import digests
from listener.errors import ConfigError

DEVICE_PREFIX: Final = "ed25519:"
_PRIME: Final = (1 << 255) - 19
_KEY_BYTES: Final = 32
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_DIGITS: Final = 6
_KEY_DIGITS: Final = 52  # five bits each, the last four of them spare
_SPARE_BITS: Final = 0b1111
FINGERPRINT_BYTES: Final = 15  # 120 bits, 24 characters of base32 without padding


def fingerprint(data: bytes) -> str:
    """Return 24 characters of a-z and 2-7 that stand for ``data``, fit for topics and files."""
    return base64.b32encode(digests.sha256(data)[:FINGERPRINT_BYTES]).decode().lower()


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
            "this is a secret key, not a public key",
            "it may have been exposed: make a new key with age-keygen and pass its age1… line",
        )
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError as error:
        raise ConfigError(
            "this is not an age public key",
            "pass the 62 characters from age1… on; print them: age-keygen -y me.key",
        ) from error


def age_bytes(text: str) -> bytes:
    """Return the 32 bytes of an X25519 key in age's spelling, which pyrage keeps to itself.

    Args:
        text: ``age1…`` or ``AGE-SECRET-KEY-1…``, as pyrage writes it: its checksum is pyrage's.

    Raises:
        ConfigError: it is none.
    """
    _, _, digits = text.lower().rpartition("1")
    try:
        values = [_BECH32.index(digit) for digit in digits[:-_CHECKSUM_DIGITS]]
    except ValueError as error:
        raise ConfigError("this is not an age key") from error
    if len(values) != _KEY_DIGITS or values[-1] & _SPARE_BITS:
        raise ConfigError("this is not an age key")
    whole = 0
    for value in values:
        whole = whole << 5 | value
    return (whole >> _SPARE_BITS.bit_length()).to_bytes(_KEY_BYTES, "big")


def agreement_public(key: Ed25519PublicKey) -> X25519PublicKey:
    """Return a device's key for agreeing on a secret: the same point in the other coordinates.

    RFC 7748, 4.1: u = (1 + y) / (1 - y). libsodium and age do the same with SSH's keys.

    Raises:
        ConfigError: the key is the neutral point.
    """
    y = int.from_bytes(key.public_bytes_raw(), "little") & ((1 << 255) - 1)
    try:
        u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
    except ValueError as error:
        raise ConfigError("this is not a device's public key", _DEVICE_HINT) from error
    return X25519PublicKey.from_public_bytes(u.to_bytes(_KEY_BYTES, "little"))


def agreement_secret(key: Ed25519PrivateKey) -> X25519PrivateKey:
    """Return the secret half of ``agreement_public``: RFC 8032's scalar of the same seed."""
    return X25519PrivateKey.from_private_bytes(digests.sha512(key.private_bytes_raw())[:_KEY_BYTES])


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
        raise ConfigError("this is not a device's public key", _DEVICE_HINT) from error
    if device_text(key) != text:
        raise ConfigError("this is not a device's public key", _DEVICE_HINT)
    return key


_DEVICE_HINT: Final = (
    "pass the text from ed25519:… on; print it on the device: earmark household this-device"
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
    hint = "restore it from a backup; or remove it and add this device to the household again"
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the device key {source} is damaged", hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the device key {source} is not an Ed25519 key", hint)
    return key
