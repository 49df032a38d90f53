"""The challenge that only the holder of an owner's secret key can answer."""

import base64
import os
from typing import Final

from listener.envelope.seal import encrypt_to

_SECRET_BYTES: Final = 15


def make_challenge(name: str, recipient: str) -> tuple[str, str]:
    """Make a riddle for one key.

    Args:
        name: the owner's; it is part of the answer, so that she sees what she is about to confirm.
        recipient: her public key.

    Returns:
        The answer, and the riddle as armored text, ending in a newline.

    Raises:
        ConfigError: the recipient is no key.
    """
    answer = f"{name}:{base64.b32encode(os.urandom(_SECRET_BYTES)).decode().lower()}"
    return answer, encrypt_to(recipient, f"{answer}\n".encode(), armored=True).decode("ascii")
