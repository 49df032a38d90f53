"""Proof of an owner who is at the speaker, for a consent without the archive. Pure.

The speaker encrypts a line to the owner's active key; the owner decrypts it with stock ``age``. The
line says what it authorises: the owner, the speaker, the assist and an expiry. It ends with a MAC
by the speaker's key, over the number of the last consent too, so that nothing is stored and each
answer counts once: the consent that it authorises has the next number.
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

_CONTEXT: Final = b"EARMARK/VOICE-PRESENCE/1\n"
_TAG_BYTES: Final = 16
_ANSWER: Final = re.compile(
    r"[a-z0-9-]{1,32}:voice-on-at-[a-z0-9-]{1,32}:[a-z2-7]{24}:([0-9]{1,12}):[a-z2-7]{26}", re.ASCII
)


class PresenceChallenge:
    """The challenge of one owner for one consent. Constructing it stores nothing.

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
        self._owner: Final = owner
        fingerprint = keys.device_id(keys.parse_device(assist))
        self._start: Final = f"{owner.name}:voice-on-at-{device}:{fingerprint}:"
        self._last: Final = f":{owner.okey}:{assist}:{last_n}"
        self._secret: Final = digests.hmac_sha256(key.private_bytes_raw(), _CONTEXT)

    def encrypt(self, now_s: int) -> str:
        """Return the challenge: the encrypted answer as armored text with a final newline.

        Args:
            now_s: seconds since 1970; the answer is valid for ``CHALLENGE_S``.
        """
        line = self._answer(now_s + CHALLENGE_S) + "\n"
        return encrypt_to(self._owner.recipient, line.encode(), armored=True).decode("ascii")

    def check(self, answer: str, now_s: int) -> None:
        """Check the owner's answer.

        Args:
            answer: any text; surrounding white space is ignored.
            now_s: seconds since 1970. A clock before the time of the challenge is refused, too.

        Raises:
            EarmarkError: it is not the answer, it has expired, or a consent was given since.
        """
        match = _ANSWER.fullmatch(answer.strip())
        until_s = 0 if match is None else int(match[1])
        is_right = match is not None and digests.compare_digests(
            self._answer(until_s).encode(), match[0].encode()
        )
        if not is_right or not until_s - CHALLENGE_S <= now_s < until_s:
            raise EarmarkError(
                f"this is not the answer to a challenge for {self._owner.name}, or it has expired,"
                " or was used",
                "run the command without --answer, and decrypt the new challenge",
            )

    def _answer(self, until_s: int) -> str:
        line = f"{self._start}{until_s}"
        tag = digests.hmac_sha256(self._secret, _CONTEXT + f"{line}{self._last}".encode())
        text = base64.b32encode(tag[:_TAG_BYTES]).decode("ascii").rstrip("=").lower()
        return f"{line}:{text}"
