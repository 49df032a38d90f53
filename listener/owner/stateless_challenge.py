"""A challenge to an owner of which nothing is stored. Pure.

The line says what it authorises, and its expiry, and ends with a MAC by the secret key of the one
that asks: a speaker or the archive. It is encrypted to the owner's public key; who carries it can
neither read it nor make an answer.
"""

import base64
import re
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import digests
from listener.envelope.seal import encrypt_to
from listener.owner.records import CHALLENGE_S

END: Final = r"([0-9]{1,12}):[a-z2-7]{26}"
"""Pattern of the last two fields: the expiry in seconds since 1970, and the MAC."""
_TAG_BYTES: Final = 16
_END: Final = re.compile(END, re.ASCII)


class StatelessChallenge:
    """A challenge that its own MAC verifies. Constructing it stores nothing.

    Args:
        recipient: age public key of the owner.
        authorises: the first fields of the line, each with a final colon.
        bound: what the MAC covers besides the line, and the line does not show.
        key: secret key of the speaker or of the archive.
        context: what separates these MACs from all others by the same key.
    """

    def __init__(
        self, recipient: str, authorises: str, bound: str, key: Ed25519PrivateKey, context: bytes
    ) -> None:
        self._recipient: Final = recipient
        self._authorises: Final = authorises
        self._bound: Final = bound
        self._context: Final = context
        self._secret: Final = digests.hmac_sha256(key.private_bytes_raw(), context)

    def encrypt(self, now_s: int) -> str:
        """Return the challenge: the encrypted answer as armored text with a final newline.

        Args:
            now_s: seconds since 1970; the answer is valid for ``CHALLENGE_S``.
        """
        line = self._answer(now_s + CHALLENGE_S) + "\n"
        return encrypt_to(self._recipient, line.encode(), armored=True).decode("ascii")

    def is_answer(self, answer: str, now_s: int) -> bool:
        """Return whether this is the owner's answer, and valid now.

        Args:
            answer: any text.
            now_s: seconds since 1970. A clock before the time of the challenge is refused, too.
        """
        match = _END.fullmatch(answer.removeprefix(self._authorises))
        if match is None:
            return False
        until_s = int(match[1])
        return (
            digests.compare_digests(self._answer(until_s).encode(), answer.encode())
            and until_s - CHALLENGE_S <= now_s < until_s
        )

    def _answer(self, until_s: int) -> str:
        line = f"{self._authorises}{until_s}"
        tag = digests.hmac_sha256(self._secret, self._context + f"{line}{self._bound}".encode())
        text = base64.b32encode(tag[:_TAG_BYTES]).decode("ascii").rstrip("=").lower()
        return f"{line}:{text}"
