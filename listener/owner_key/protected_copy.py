"""The copy of a key that a passphrase protects: a file of stock ``age -p``.

age measures how fast this computer is: it chooses scrypt's work factor by it, and refuses a file
whose factor is far above. While other programs take the processor, the measure is too low; so a
refusal is tried again.
"""

import time
from collections.abc import Callable
from typing import Final

import pyrage

from listener.errors import ConfigError, Unavailable

PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
_TOO_SLOW: Final = "Excessive work"


def protect(data: bytes, passphrase: str) -> bytes:
    """Return the copy, as ASCII armor; it takes a second or two."""
    return bytes(pyrage.passphrase.encrypt(data, passphrase, armored=True))


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
