"""The age file in an envelope, looked at from outside: to how many keys it is sealed, and how long.

https://age-encryption.org/v1 is its specification; nothing here can open it.
"""

import re
from typing import Final

from listener.errors import BadEnvelope

AGE_HEADER_LIMIT_BYTES: Final = 512
AGE_OVERHEAD_BYTES: Final = 32  # a nonce and one tag, even around nothing

# 43 characters are 32 bytes; the last carries two bits that must be zero.
_KEY = rb"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]"
_AGE_HEADER: Final = re.compile(
    rb"age-encryption\.org/v1\n"
    rb"-> X25519 " + _KEY + rb"\n" + _KEY + rb"\n"
    # rage's noise: a type of up to 9 characters, up to 4 arguments, up to 100 bytes.
    rb"(?:-> [!-~]{0,9}-grease(?: [!-~]{1,9}){0,4}\n"
    rb"(?:[A-Za-z0-9+/]{64}\n){0,2}[A-Za-z0-9+/]{0,63}\n)?"
    rb"--- " + _KEY + rb"\n"
)


def check_age(ciphertext: bytes) -> None:
    """Check from outside that an age file has exactly one recipient, an X25519 key.

    One stanza of noise ("grease") after it is let through: rage, which pyrage wraps, always adds
    one, and every age implementation skips it.

    Args:
        ciphertext: any bytes at all.

    Raises:
        BadEnvelope: it has not, or it is no age file.
    """
    match = _AGE_HEADER.match(ciphertext[:AGE_HEADER_LIMIT_BYTES])
    if match is None:
        raise BadEnvelope("the ciphertext is not an age file with exactly one X25519 recipient")
    if len(ciphertext) < match.end() + AGE_OVERHEAD_BYTES:
        raise BadEnvelope("the ciphertext is cut short")
