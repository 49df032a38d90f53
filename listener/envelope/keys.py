"""Public keys, their text forms and fingerprints, and the device's signing key.

Owners' secret keys are handled in ``open`` only; this module cannot decrypt an envelope.
"""

import base64
import binascii
import re
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
_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_KEY_DIGITS: Final = 52  # five bits each, the last four of them spare
_SPARE_BITS: Final = 0b1111
POST_QUANTUM: Final = "post-quantum"
X25519_HINT: Final = "make an X25519 key: age-keygen without -pq"
_OTHER_RECIPIENT: Final = re.compile(r"age1(?P<kind>[a-z0-9+_.-]{1,64})1[a-z0-9]{6}", re.IGNORECASE)
"""Public keys of age 1.3 and of its plug-ins: ``age1pq1…``, ``age1NAME1…``. An X25519 key has no
second 1."""
FINGERPRINT_BYTES: Final = 15  # 120 bits, 24 characters of base32 without padding
_DEVICE_HINT: Final = (
    "pass the text from ed25519:… on; print it on the device: earmark household this-device"
)


def fingerprint(data: bytes) -> str:
    """Return the fingerprint of ``data``: 120 bits of SHA-256 as 24 characters of a-z and 2-7."""
    return base64.b32encode(digests.sha256(data)[:FINGERPRINT_BYTES]).decode().lower()


def owner_id(recipient: str) -> str:
    """Return an owner's ``okey``: the fingerprint of their public key's text.

    Args:
        recipient: as ``parse_recipient`` returns it.
    """
    return fingerprint(recipient.encode())


def device_id(key: Ed25519PublicKey) -> str:
    """Return a device's ``dkey``: the fingerprint of its 32 public bytes."""
    return fingerprint(key.public_bytes_raw())


def parse_recipient(text: str) -> str:
    """Return an owner's public key in its canonical text, ``age1…`` in lower case.

    Raises:
        ConfigError: the text is not an X25519 age key. The message never quotes the text, which
            could be a secret key pasted by mistake.
    """
    text = text.strip()
    if text.upper().startswith(("AGE-SECRET-KEY-", "AGE-PLUGIN-")):
        raise ConfigError(
            "this is a secret key, not a public key",
            "it may have been exposed: make a new key with age-keygen and pass its age1… line",
        )
    try:
        return str(pyrage.x25519.Recipient.from_str(text))
    except pyrage.RecipientError as error:
        if kind := _other_kind(text):
            raise ConfigError(
                f"this is not an age public key of the kind X25519, but a {kind} key",
                X25519_HINT,
            ) from error
        raise ConfigError(
            "this is not an age public key",
            "pass the 62 characters from age1… on; print them: age-keygen -y me.key",
        ) from error


def _other_kind(text: str) -> str:
    """Return the kind of a public key that age knows and this module does not; or empty."""
    match = _OTHER_RECIPIENT.match(text)
    if match is None:
        return ""
    return POST_QUANTUM if match["kind"].lower() == "pq" else "plug-in"


def age_bytes(text: str) -> bytes:
    """Return the 32 bytes of an X25519 key in age's Bech32 text; pyrage does not expose them.

    Args:
        text: ``age1…`` or ``AGE-SECRET-KEY-1…`` as pyrage writes it; the checksum is not verified.

    Raises:
        ConfigError: the text is not an age key.
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


def age_secret_text(raw: bytes) -> str:
    """Return the text of an X25519 secret key, ``AGE-SECRET-KEY-1…``: Bech32 (BIP 173).

    Args:
        raw: the 32 bytes.
    """
    prefix = "age-secret-key-"
    whole = int.from_bytes(raw, "big") << _SPARE_BITS.bit_length()
    values = [whole >> 5 * place & 31 for place in range(_KEY_DIGITS - 1, -1, -1)]
    expanded = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(one) & 31 for one in prefix]
    polymod = _polymod([*expanded, *values, *[0] * _CHECKSUM_DIGITS]) ^ 1
    checksum = [polymod >> 5 * place & 31 for place in range(_CHECKSUM_DIGITS - 1, -1, -1)]
    return f"{prefix}1{''.join(_BECH32[value] for value in [*values, *checksum])}".upper()


def _polymod(values: list[int]) -> int:
    """Return the checksum polynomial of BIP 173."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATORS):
            checksum ^= generator if top >> place & 1 else 0
    return checksum


def agreement_public(key: Ed25519PublicKey) -> X25519PublicKey:
    """Return a device's public key for key agreement: its Ed25519 point as an X25519 point.

    RFC 7748, 4.1: u = (1 + y) / (1 - y); libsodium and age convert SSH keys in the same way.

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
    """Return the secret key of ``agreement_public``: RFC 8032's scalar of the same seed."""
    return X25519PrivateKey.from_private_bytes(digests.sha512(key.private_bytes_raw())[:_KEY_BYTES])


def device_text(key: Ed25519PublicKey) -> str:
    """Return the text of a device's public key: ``ed25519:`` and 44 characters of base64."""
    return DEVICE_PREFIX + base64.b64encode(key.public_bytes_raw()).decode()


def parse_device(text: str) -> Ed25519PublicKey:
    """Parse the text of a device's public key, as ``device_text`` returns it.

    Raises:
        ConfigError: the text is not a device's public key.
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


def device_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the device's secret key as unencrypted PKCS 8 PEM (RFC 5958)."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def parse_device_pem(data: bytes, source: str) -> Ed25519PrivateKey:
    """Parse the device's secret key.

    Args:
        data: PEM, as ``device_pem`` returns it.
        source: its name for messages.

    Raises:
        ConfigError: the key is damaged, encrypted or of another type.
    """
    hint = "restore it from a backup; or remove it and add this device to the household again"
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the device key {source} is damaged", hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the device key {source} is not an Ed25519 key", hint)
    return key
