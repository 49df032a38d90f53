"""Owners and devices, one by one, as the roster's file has them. Pure.

An owner never changes; each step of hers returns a new one.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener import digests
from listener.envelope import keys
from listener.envelope.format import Sha256, ShortName
from listener.errors import EarmarkError

CHALLENGE_S: Final = 24 * 3600

Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the roster's file; unknown fields are refused."""


class Challenge(Record, frozen=True, kw_only=True):
    """A question only the holder of an owner's secret key can answer."""

    sha256: Sha256
    """Of the answer, which is kept nowhere."""
    made_s: Seconds
    expires_s: Seconds


class Owner(Record, frozen=True, kw_only=True):
    """Somebody whose clips may be made."""

    name: ShortName
    recipient: str
    """Her public key, ``age1…``."""
    active: bool = False
    """Whether she has proved that she holds the secret key. Until then she is unknown."""
    challenge: Challenge | None = None
    following: str | None = None
    """The key that will take the place of ``recipient`` once it is confirmed."""
    retired: tuple[str, ...] = ()
    """Keys that were active before: nothing new is sealed to them, what was is still hers."""

    @property
    def okey(self) -> str:
        """The fingerprint of her key."""
        return keys.owner_id(self.recipient)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every key to which her clips may be sealed, the active one first."""
        return (self.recipient, *self.retired)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Every key that is hers, and the one that follows: nobody else may have them."""
        return self.recipients if self.following is None else (*self.recipients, self.following)

    def with_following(self, recipient: str) -> "Owner":
        """Return her with the key that is to follow; an earlier challenge counts no more."""
        return msgspec.structs.replace(self, following=recipient, challenge=None)

    def with_rotated_key(self) -> "Owner":
        """Return her with the following key, if any, in place of hers, which is retired."""
        if self.following is None:
            return self
        return msgspec.structs.replace(
            self,
            recipient=self.following,
            following=None,
            challenge=None,
            retired=(self.recipient, *self.retired),
        )

    def with_challenge(self, answer: str, now_s: int) -> "Owner":
        """Return her with a challenge in place of an earlier one; see ``Roster.with_challenge``.

        Raises:
            EarmarkError: she is active already, and no key follows.
        """
        self._check_unconfirmed()
        challenge = Challenge(sha256=_digest(answer), made_s=now_s, expires_s=now_s + CHALLENGE_S)
        return msgspec.structs.replace(self, challenge=challenge)

    def with_confirmation(self, answer: str, now_s: int) -> "Owner":
        """Return her as she is after the right answer; see ``Roster.with_confirmation``.

        Raises:
            EarmarkError: she is active already, was not challenged, is late, or is wrong.
        """
        self._check_unconfirmed()
        again = f"make a challenge: earmark owner challenge {self.name}"
        challenge = self.challenge
        if challenge is None:
            raise EarmarkError(f"{self.name} has no open challenge", again)
        if not challenge.made_s <= now_s < challenge.expires_s:
            raise EarmarkError(f"the challenge for {self.name} has expired", again)
        if not digests.compare_digests(_digest(answer.strip()).encode(), challenge.sha256.encode()):
            raise EarmarkError(
                f"this is not the answer to the last challenge for {self.name}",
                f"decrypt the newest one: earmark owner challenge {self.name}"
                f" | age -d -i {self.name}.key",
            )
        if self.following is not None:
            return self.with_rotated_key()
        return msgspec.structs.replace(self, active=True, challenge=None)

    def _check_unconfirmed(self) -> None:
        if self.active and self.following is None:
            raise EarmarkError(f"{self.name} is already confirmed")


class Device(Record, frozen=True, kw_only=True):
    """A speaker whose signature the archive believes."""

    name: ShortName
    key: str
    """Its public key, ``ed25519:…``."""

    @property
    def dkey(self) -> str:
        """The fingerprint of its key."""
        return keys.device_id(keys.parse_device(self.key))


def _digest(answer: str) -> str:
    return digests.sha256(answer.encode("utf-8", "replace")).hex()
