"""Hash functions for code that hear runs, from cryptography, which hear loads in any case.

Python's hashlib loads the system's OpenSSL beside the one inside cryptography: 3.3 MiB, which does
not fit hear's memory limit. Other processes may use hashlib.
"""

import os

from cryptography.hazmat.primitives import hashes, hmac


def sha256(data: bytes | memoryview) -> bytes:
    """Return the 32 bytes of SHA-256 (FIPS 180-4)."""
    return _digest(hashes.SHA256(), data)


def sha512(data: bytes | memoryview) -> bytes:
    """Return the 64 bytes of SHA-512 (FIPS 180-4)."""
    return _digest(hashes.SHA512(), data)


def md5(data: bytes | memoryview) -> bytes:
    """Return the 16 bytes of MD5 (RFC 1321), for formats that contain it; not for security."""
    return _digest(hashes.MD5(), data)  # noqa: S303 - FLAC's own check against damage, not malice


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC with SHA-256 (RFC 2104)."""
    context = hmac.HMAC(key, hashes.SHA256())
    context.update(data)
    return context.finalize()


def compare_digests(one: bytes, other: bytes) -> bool:
    """Compare in a time that does not depend on where they differ: by their HMACs, random key.

    (Python's ``hmac.compare_digest`` and cryptography's ``constant_time`` import hashlib.)
    """
    key = os.urandom(32)
    return hmac_sha256(key, one) == hmac_sha256(key, other)


def _digest(kind: hashes.HashAlgorithm, data: bytes | memoryview) -> bytes:
    context = hashes.Hash(kind)
    context.update(data)
    return context.finalize()
