"""The copy of a key that a passphrase protects: a file of stock ``age -p``.

pyrage chooses scrypt's work factor by the speed of this computer: 2^20 on a fast one, which takes
1 GiB of memory, and a phone or a small computer cannot open that. So the file is written here, with
2^18 as by stock age (https://age-encryption.org/v1, "The scrypt recipient type"); pyrage reads it.

pyrage also refuses a file whose factor is far above what it measures. While other programs take the
processor, the measure is too low; so a refusal is tried again.
"""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Final

import pyrage
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from listener.errors import ConfigError, Unavailable

WORK_FACTOR: Final = 18
"""Of scrypt, as a power of two: 256 MiB of memory, about a second."""
MOST_BYTES: Final = 64 << 10
"""One chunk of age's payload."""
PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_TOO_SLOW: Final = "Excessive work"
_COLUMNS: Final = 64


def protect(data: bytes, passphrase: str) -> bytes:
    """Return the copy, as ASCII armor; it takes about a second.

    Args:
        data: at most ``MOST_BYTES``.
        passphrase: not empty.

    Raises:
        ConfigError: the data is longer.
    """
    if len(data) > MOST_BYTES:
        raise ConfigError(f"a protected copy has at most {MOST_BYTES} bytes")
    file_key, salt, nonce = (secrets.token_bytes(16) for _ in range(3))
    label = b"age-encryption.org/v1/scrypt"
    wrap = Scrypt(salt=label + salt, length=32, n=1 << WORK_FACTOR, r=8, p=1)
    # The wrapping key is used once, for this one file key.
    wrapped = ChaCha20Poly1305(wrap.derive(passphrase.encode())).encrypt(bytes(12), file_key, None)
    header = (
        f"age-encryption.org/v1\n-> scrypt {_text(salt)} {WORK_FACTOR}\n{_text(wrapped)}\n---"
    ).encode("ascii")
    code = hmac.HMAC(_derive(file_key, b"", b"header"), hashes.SHA256())
    code.update(header)
    # STREAM: a counter of 11 bytes, and 1 for the last chunk.
    chunk = ChaCha20Poly1305(_derive(file_key, nonce, b"payload")).encrypt(
        bytes(11) + b"\x01", data, None
    )
    file = header + b" " + _text(code.finalize()).encode("ascii") + b"\n" + nonce + chunk
    whole = base64.b64encode(file).decode("ascii")
    lines = [whole[at : at + _COLUMNS] for at in range(0, len(whole), _COLUMNS)]
    begin, end = "-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"
    return "\n".join([begin, *lines, end, ""]).encode("ascii")


def unprotect(
    copy: bytes, passphrase: str, source: str, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Return the content of a copy.

    Args:
        copy: the copy, binary or armored.
        passphrase: as it was given.
        source: its name for messages.
        sleep: waits for some seconds.

    Raises:
        ConfigError: the passphrase is another one, or the copy is damaged.
        Unavailable: this computer is too slow or too busy.
    """
    for pause_s in (*PAUSES_S, None):
        try:
            return bytes(pyrage.passphrase.decrypt(copy, passphrase))
        except (pyrage.DecryptError, ValueError) as error:
            if _TOO_SLOW not in str(error):
                raise ConfigError(
                    f"this passphrase does not decrypt {source}", "type it again, with its spaces"
                ) from error
            if pause_s is None:
                break
            sleep(pause_s)
    raise Unavailable(
        f"this computer is too slow or too busy now to decrypt {source}",
        f"try again later, or use age: age -d -o me.key {source}",
    )


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=salt, info=info).derive(key)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")
