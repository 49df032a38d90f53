"""Proof that an owner has the secret key that one place knows of them, carried by others. Pure.

A speaker, or the archive, encrypts a line to the owner's unconfirmed public key. The line names the
owner, the place, the key and an expiry, and ends with a MAC by the place's own key, so that the
place stores nothing. Who carries the line and the answer can neither read the one nor make the
other. ``docs/decisions/0066-owners-confirmed-through-the-hub.md`` gives the reasons.
"""

import re
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.errors import EarmarkError
from listener.owner.records import Owner
from listener.owner.stateless_challenge import END, StatelessChallenge

LONGEST_ANSWER: Final = 160
"""Longest answer in characters."""
MOST_CHALLENGES: Final = 16
"""Challenges that one place has open at a time."""
_CONTEXT: Final = b"EARMARK/OWNER-AT/1\n"
_ANSWER: Final = re.compile(
    rf"([a-z0-9-]{{1,32}}):owner-at-([a-z0-9-]{{1,32}}):([a-z2-7]{{24}}):{END}", re.ASCII
)


class PossessionChallenge(StatelessChallenge):
    """The challenge of one place for one owner.

    Args:
        owner: an owner with an unconfirmed key.
        place: name of the speaker, or ``roster.ARCHIVE``.
        key: secret key of the speaker or of the archive.
    """

    def __init__(self, owner: Owner, place: str, key: Ed25519PrivateKey) -> None:
        super().__init__(
            owner.recipient,
            f"{owner.name}:owner-at-{place}:{owner.okey}:",
            # The whole public key, not its fingerprint alone.
            f":{owner.recipient}",
            key,
            _CONTEXT,
        )


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
