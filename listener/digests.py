"""Digests for what hear runs, by the library that signs: cryptography, which is loaded anyway.

Python's hashlib loads the system's OpenSSL beside the one that cryptography has in it: 3.3 MiB, of
which hear has none to spare. Where memory is no matter, hashlib is as good.
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
    """Return the 16 bytes of MD5 (RFC 1321), where a format wants it: it proves nothing."""
    return _digest(hashes.MD5(), data)  # noqa: S303 - FLAC's own check against damage, not malice


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC with SHA-256 (RFC 2104)."""
    made = hmac.HMAC(key, hashes.SHA256())
    made.update(data)
    return made.finalize()


def compare_digests(one: bytes, other: bytes) -> bool:
    """Compare in a time that does not tell where they differ: under a key that nobody knows.

    (Python's ``hmac.compare_digest`` and cryptography's ``constant_time`` bring hashlib.)
    """
    key = os.urandom(32)
    return hmac_sha256(key, one) == hmac_sha256(key, other)


def _digest(kind: hashes.HashAlgorithm, data: bytes | memoryview) -> bytes:
    made = hashes.Hash(kind)
    made.update(data)
    return made.finalize()
