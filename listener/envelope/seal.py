"""Make an envelope: encrypt to exactly one owner, sign as this device.

Sealing refuses to make what ``verify`` or ``open`` would refuse, so that a mistake in the hearing
process is a counted loss and not an envelope that nobody can use.
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
        header: its ``okey`` must be the recipient's, its ``dkey`` the device key's.
        private: goes inside the ciphertext only.
        encode: given the comment that must travel in the clip's COMMENT tag, returns the FLAC.
        recipient: the one owner's public key, as ``keys.parse_recipient`` returns it.
        device_key: signs.

    Raises:
        BadEnvelope: header, fields, keys and clip do not make an envelope that could be opened;
            nothing was sealed.
        ConfigError: the recipient is no key.

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
    check_age(ciphertext)
    content = form.Seal(bytes=len(ciphertext), sha256=digests.sha256(ciphertext).hex())
    signed = form.MAGIC + canonical_json(header) + b"\n" + canonical_json(content) + b"\n"
    signature = base64.b64encode(device_key.sign(signed))
    return b"".join((signed, signature, b"\n", ciphertext))


def encrypt_to(recipient: str, data: bytes, *, armored: bool = False) -> bytes:
    """Encrypt ``data`` to one owner, as an age file; armored it is text, fit for a terminal.

    Raises:
        ConfigError: the recipient is no key.
    """
    key = pyrage.x25519.Recipient.from_str(keys.parse_recipient(recipient))
    sealed: bytes = pyrage.encrypt(data, [key], armored)
    return sealed
