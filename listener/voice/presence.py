"""Proof of an owner who is at the speaker, for a consent without the archive. Pure.

The speaker encrypts a line to the owner's active key; the owner decrypts it with stock ``age``. The
line says what it authorises: the owner, the speaker, the assist and an expiry. It ends with a MAC
by the speaker's key, over the number of the last consent too, so that nothing is stored and each
answer counts once: the consent that it authorises has the next number.
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope import keys
from listener.errors import EarmarkError
from listener.owner.records import Owner
from listener.owner.stateless_challenge import StatelessChallenge

_CONTEXT: Final = b"EARMARK/VOICE-PRESENCE/1\n"


class PresenceChallenge(StatelessChallenge):
    """The challenge of one owner for one consent.

    Args:
        owner: an active owner.
        device: name of the speaker.
        key: secret key of the speaker.
        assist: public key of the assist that the owner may allow, ``ed25519:…``.
        last_n: number of the last consent of this owner that the speaker keeps, or 0.

    Raises:
        ConfigError: the assist's key is not a public key.
    """

    def __init__(
        self, owner: Owner, device: str, key: Ed25519PrivateKey, assist: str, last_n: int
    ) -> None:
        fingerprint = keys.device_id(keys.parse_device(assist))
        super().__init__(
            owner.recipient,
            f"{owner.name}:voice-on-at-{device}:{fingerprint}:",
            f":{owner.okey}:{assist}:{last_n}",
            key,
            _CONTEXT,
        )
        self._owner: Final = owner.name

    def check(self, answer: str, now_s: int) -> None:
        """Check the owner's answer.

        Args:
            answer: any text; surrounding white space is ignored.
            now_s: seconds since 1970. A clock before the time of the challenge is refused, too.

        Raises:
            EarmarkError: it is not the answer, it has expired, or a consent was given since.
        """
        if not self.is_answer(answer.strip(), now_s):
            raise EarmarkError(
                f"this is not the answer to a challenge for {self._owner}, or it has expired,"
                " or was used",
                "run the command without --answer, and decrypt the new challenge",
            )
