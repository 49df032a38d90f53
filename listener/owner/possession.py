"""Proof that an owner has the secret key that one place knows of them, carried by others. Pure.

A speaker, or the archive, encrypts a line to the owner's unconfirmed public key. The line names the
owner, the place, the key and an expiry, and ends with a MAC by the place's own key, so that the
place stores nothing. Who carries the line and the answer can neither read the one nor make the
other. ``docs/decisions/0066-owners-confirmed-through-the-hub.md`` gives the reasons.
"""

import base64
import re
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener import digests
from listener.envelope import keys
from listener.envelope.seal import encrypt_to
from listener.errors import EarmarkError
from listener.owner.records import CHALLENGE_S, Owner

LONGEST_ANSWER: Final = 160
"""Longest answer in characters."""
MOST_CHALLENGES: Final = 16
"""Challenges that one place has open at a time."""
_CONTEXT: Final = b"EARMARK/OWNER-AT/1\n"
_TAG_BYTES: Final = 16
_ANSWER: Final = re.compile(
    r"([a-z0-9-]{1,32}):owner-at-([a-z0-9-]{1,32}):([a-z2-7]{24}):([0-9]{1,12}):[a-z2-7]{26}",
    re.ASCII,
)


class PossessionChallenge:
    """The challenge of one place for one owner. Constructing it stores nothing.

    Args:
        owner: an owner with an unconfirmed key.
        place: name of the speaker, or ``roster.ARCHIVE``.
        key: secret key of the speaker or of the archive.
    """

    def __init__(self, owner: Owner, place: str, key: Ed25519PrivateKey) -> None:
        self._owner: Final = owner
        self._start: Final = f"{owner.name}:owner-at-{place}:{owner.okey}:"
        self._secret: Final = digests.hmac_sha256(key.private_bytes_raw(), _CONTEXT)

    def encrypt(self, now_s: int) -> str:
        """Return the challenge: the encrypted answer as armored text with a final newline.

        Args:
            now_s: seconds since 1970; the answer is valid for ``CHALLENGE_S``.
        """
        line = self._answer(now_s + CHALLENGE_S) + "\n"
        return encrypt_to(self._owner.recipient, line.encode(), armored=True).decode("ascii")

    def is_answer(self, answer: str, now_s: int) -> bool:
        """Return whether this is the owner's answer, and valid now.

        Args:
            answer: any text.
            now_s: seconds since 1970. A clock before the time of the challenge is refused, too.
        """
        match = _ANSWER.fullmatch(answer)
        if match is None:
            return False
        until_s = int(match[4])
        return (
            digests.compare_digests(self._answer(until_s).encode(), answer.encode())
            and until_s - CHALLENGE_S <= now_s < until_s
        )

    def _answer(self, until_s: int) -> str:
        line = f"{self._start}{until_s}"
        # The whole public key, not its fingerprint alone.
        tag = digests.hmac_sha256(
            self._secret, _CONTEXT + f"{line}:{self._owner.recipient}".encode()
        )
        text = base64.b32encode(tag[:_TAG_BYTES]).decode("ascii").rstrip("=").lower()
        return f"{line}:{text}"


def check_plaintext(plaintext: bytes, owner: str, place: str, recipient: str) -> str:
    """Return the answer in a decrypted challenge, after checking that it is nothing else.

    A decrypted text may authorise something else, such as a request at the archive. It leaves the
    owner's computer only if it is an answer for this owner, place and key.

    Args:
        plaintext: any bytes are safe.
        owner: name of the owner.
        place: speaker that is said to have made the challenge, or ``roster.ARCHIVE``.
        recipient: public key of the owner, which decrypted it.

    Raises:
        EarmarkError: it is something else. The message holds none of it.
    """
    line = plaintext.decode("ascii", "replace").removesuffix("\n")
    match = _ANSWER.fullmatch(line)
    if match is None or match.group(1, 2, 3) != (owner, place, keys.owner_id(recipient)):
        raise EarmarkError(
            f"the challenge of {place} is for something else than the key of {owner} at {place}",
            "do not decrypt it by other means; tell your household",
        )
    return line
