"""An age file with a grease stanza of the writer's choice, as a taken-over hear could make.

Format: https://age-encryption.org/v1. The device's own code uses pyrage, which offers no choice.
"""

import base64
import hmac
import os
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE_KEY_BYTES = 16
_CHUNK_BYTES = 64 << 10


def wrap(file_key: bytes, public: X25519PublicKey) -> tuple[bytes, bytes]:
    """Return the ephemeral share and the file key encrypted to a public key."""
    secret = X25519PrivateKey.generate()
    share = secret.public_key().public_bytes_raw()
    key = _wrap_key(secret.exchange(public), share + public.public_bytes_raw())
    return share, ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)


def unwrap(share: bytes, wrapped: bytes, secret: X25519PrivateKey) -> bytes:
    """Return the file key that ``wrap`` encrypted."""
    public = secret.public_key().public_bytes_raw()
    shared = secret.exchange(X25519PublicKey.from_public_bytes(share))
    key = _wrap_key(shared, share + public)
    return ChaCha20Poly1305(key).decrypt(bytes(12), wrapped, None)


def write(data: bytes, public: X25519PublicKey, stanzas: bytes, file_key: bytes) -> bytes:
    """Return an age file for one X25519 recipient, with further stanzas as they are."""
    share, wrapped = wrap(file_key, public)
    head = (
        (b"age-encryption.org/v1\n-> X25519 " + text(share) + b"\n" + text(wrapped) + b"\n")
        + stanzas
        + b"---"
    )
    mac = hmac.new(_derive(file_key, b"", b"header"), head, sha256).digest()
    nonce = os.urandom(16)
    stream = ChaCha20Poly1305(_derive(file_key, nonce, b"payload"))
    pieces = [data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES)] or [b""]
    body = b"".join(
        stream.encrypt(number.to_bytes(11, "big") + bytes([number == len(pieces) - 1]), piece, None)
        for number, piece in enumerate(pieces)
    )
    return head + b" " + text(mac) + b"\n" + nonce + body


def read(file: bytes, file_key: bytes) -> bytes:
    """Decrypt the body of an age file of one chunk with its file key."""
    body = file[file.index(b"\n", file.index(b"\n---") + 1) + 1 :]
    stream = ChaCha20Poly1305(_derive(file_key, body[:16], b"payload"))
    return stream.decrypt(bytes(11) + b"\x01", body[16:], None)


def text(data: bytes) -> bytes:
    """Return base64 without padding, as age writes it."""
    return base64.b64encode(data).rstrip(b"=")


def _wrap_key(shared: bytes, salt: bytes) -> bytes:
    return _derive(shared, salt, b"age-encryption.org/v1/X25519")


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(key)
