"""The challenge that proves possession of an owner's secret key: decrypt a random answer."""

import base64
import os
from typing import Final

from listener.envelope.seal import encrypt_to

_SECRET_BYTES: Final = 15


def make_challenge(name: str, recipient: str) -> tuple[str, str]:
    """Make a challenge for one key.

    Args:
        name: name of the owner; part of the answer, so that the owner sees what they confirm.
        recipient: public key of the owner, ``age1…``.

    Returns:
        The answer, and the challenge: the encrypted answer as armored text with a final newline.

    Raises:
        ConfigError: the recipient is not an age public key.
    """
    answer = f"{name}:{base64.b32encode(os.urandom(_SECRET_BYTES)).decode().lower()}"
    return answer, encrypt_to(recipient, f"{answer}\n".encode(), armored=True).decode("ascii")
