"""Codes by which an owner, whose age key cannot sign, proves a message to one speaker. Pure.

The owner's key and the speaker's key agree on a shared secret (X25519, RFC 7748); HKDF-SHA256
(RFC 5869) and HMAC-SHA256 (RFC 2104) make a MAC with it. Only these two can make or verify
it. ``docs/decisions/0035-key-rotation-authorised-by-old-key.md`` gives the reasons.
"""

import base64
from typing import Annotated, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta

from listener import digests
from listener.errors import ConfigError

Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=\Z")]
"""MAC of 32 bytes in base64."""
_CODE_BYTES: Final = 32


def agree_code(
    mine: X25519PrivateKey,
    theirs: X25519PublicKey,
    owner: X25519PublicKey,
    context: bytes,
    message: bytes,
) -> str:
    """Return the MAC of a message under the shared secret of two keys, in base64.

    Args:
        mine: secret key of one side.
        theirs: public key of the other side.
        owner: public key of the owner, which is one of the two sides.
        context: first bytes of all messages of this kind; they separate its keys from others.
        message: the bytes, which begin with the context.

    Raises:
        ConfigError: the other key is a point of low order, whose shared secret is public.
    """
    try:
        shared = mine.exchange(theirs)
    except ValueError as error:
        raise ConfigError("this key cannot be used for key agreement") from error
    own, other = mine.public_key().public_bytes_raw(), theirs.public_bytes_raw()
    first = owner.public_bytes_raw()
    salt = first + (own if first == other else other)
    secret = HKDF(hashes.SHA256(), _CODE_BYTES, salt, context).derive(shared)
    return base64.b64encode(digests.hmac_sha256(secret, message)).decode("ascii")
