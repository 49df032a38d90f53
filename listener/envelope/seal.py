"""Sealing of a clip: encrypt it to exactly one owner and sign it as this device.

Sealing refuses everything that ``verify`` or ``open`` would refuse, so that a fault in the hear
process is a counted loss and not an envelope that cannot be opened.
"""

import base64
from collections.abc import Callable

import pyrage
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import digests
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import canonical_json, check_age
from listener.errors import BadEnvelope


def seal(
    header: form.PublicHeader,
    private: form.PrivateFields,
    encode: Callable[[str], bytes],
    recipient: str,
    device_key: Ed25519PrivateKey,
) -> bytes:
    """Return the envelope of one clip.

    Args:
        header: public header; ``okey`` must be the recipient's, ``dkey`` the device key's.
        private: private fields, encrypted with the clip.
        encode: takes the text of the clip's COMMENT tag and returns the FLAC file.
        recipient: public key of the owner, as ``keys.parse_recipient`` returns it.
        device_key: key of the device, which signs.

    Raises:
        BadEnvelope: header, fields, keys and clip contradict each other or are out of range;
            nothing was sealed.
        ConfigError: the recipient is not an age public key.

    Safe for use by several threads.
    """
    comment = form.build_comment(header, private)
    form.parse_comment(comment)
    if header.okey != keys.owner_id(recipient):
        raise BadEnvelope("the header names another key than the recipient's")
    if header.dkey != keys.device_id(device_key.public_key()):
        raise BadEnvelope("the header names another key than the device's")
    ciphertext = encrypt_to(recipient, encode(comment.decode("ascii")))
    if len(ciphertext) > form.CIPHERTEXT_LIMIT_BYTES:
        raise BadEnvelope(
            f"the clip is longer than {form.CIPHERTEXT_LIMIT_BYTES} bytes when sealed"
        )
    return sign_ciphertext(form.MAGIC, header, ciphertext, device_key)


def sign_ciphertext(
    magic: bytes, header: form.Fields, ciphertext: bytes, key: Ed25519PrivateKey
) -> bytes:
    """Return a sealed file: first line, header, seal, signature and ciphertext.

    Args:
        magic: first line of this kind of file, with its newline.
        header: public header.
        ciphertext: age file.
        key: signs the first three lines.

    Raises:
        BadEnvelope: the ciphertext is not an age file with exactly one X25519 recipient.
    """
    check_age(ciphertext)
    content = form.Seal(bytes=len(ciphertext), sha256=digests.sha256(ciphertext).hex())
    signed = magic + canonical_json(header) + b"\n" + canonical_json(content) + b"\n"
    signature = base64.b64encode(key.sign(signed))
    return b"".join((signed, signature, b"\n", ciphertext))


def encrypt_to(recipient: str, data: bytes, *, armored: bool = False) -> bytes:
    """Encrypt ``data`` to one owner.

    Args:
        recipient: public key of the owner, ``age1…``.
        data: the plaintext.
        armored: return age's text format, for a terminal.

    Returns:
        An age file (https://age-encryption.org/v1).

    Raises:
        ConfigError: the recipient is not an age public key.
    """
    key = pyrage.x25519.Recipient.from_str(keys.parse_recipient(recipient))
    ciphertext: bytes = pyrage.encrypt(data, [key], armored)
    return ciphertext
