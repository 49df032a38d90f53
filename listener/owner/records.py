"""The records of a roster: owner, device and challenge. Pure.

An owner is immutable; each edit returns a new one.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener import digests
from listener.envelope import keys
from listener.envelope.format import Sha256, ShortName
from listener.errors import EarmarkError, UsageError

CHALLENGE_S: Final = 24 * 3600
MOST_RETIRED: Final = 400
"""Retired keys of an owner: with a new key each month, 33 years."""

Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the roster file; unknown fields are refused."""


class Challenge(Record, frozen=True, kw_only=True):
    """An open challenge; see ``owner.challenge``."""

    sha256: Sha256
    """SHA-256 of the answer, which is not stored."""
    made_s: Seconds
    """Time of the challenge, seconds since 1970."""
    expires_s: Seconds
    """End of its validity, seconds since 1970."""


class Owner(Record, frozen=True, kw_only=True):
    """An owner of clips."""

    name: ShortName
    """Short name."""
    recipient: str
    """Public key, ``age1…``."""
    active: bool = False
    """True once the owner has proved possession of the secret key; no clip is made before."""
    challenge: Challenge | None = None
    """The open challenge, if any."""
    following: str | None = None
    """The key that replaces ``recipient`` once it is confirmed."""
    retired: tuple[str, ...] = ()
    """Keys that were active before: no new clip is sealed to them, older ones still are."""

    @property
    def okey(self) -> str:
        """Fingerprint of the active key."""
        return keys.owner_id(self.recipient)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The keys to which this owner's clips may be sealed, the active one first."""
        return (self.recipient, *self.retired)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """The keys that no other owner may have: active, retired and following."""
        return self.recipients if self.following is None else (*self.recipients, self.following)

    def with_following(self, recipient: str) -> "Owner":
        """Return the owner with a following key; an open challenge is dropped.

        Raises:
            UsageError: the owner has changed the key too often. The roster is one bounded file, and
                one owner's keys must not fill it.
        """
        if len(self.retired) >= MOST_RETIRED:
            raise UsageError(
                f"{self.name} has {MOST_RETIRED} retired keys, which is the limit",
                f"remove and add the owner: earmark owner forget {self.name}",
            )
        return msgspec.structs.replace(self, following=recipient, challenge=None)

    def with_rotated_key(self) -> "Owner":
        """Return the owner with the following key, if any, active and the previous one retired."""
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
        """Return the owner with a new challenge; see ``Roster.with_challenge``.

        Raises:
            EarmarkError: the owner is active and has no following key.
        """
        self._check_unconfirmed()
        challenge = Challenge(sha256=_digest(answer), made_s=now_s, expires_s=now_s + CHALLENGE_S)
        return msgspec.structs.replace(self, challenge=challenge)

    def with_confirmation(self, answer: str, now_s: int) -> "Owner":
        """Return the owner after the right answer; see ``Roster.with_confirmation``.

        Raises:
            EarmarkError: there is no open challenge, it has expired, or the answer is wrong.
        """
        self._check_unconfirmed()
        hint = f"make a challenge: earmark owner challenge {self.name}"
        challenge = self.challenge
        if challenge is None:
            raise EarmarkError(f"{self.name} has no open challenge", hint)
        if not challenge.made_s <= now_s < challenge.expires_s:
            raise EarmarkError(f"the challenge for {self.name} has expired", hint)
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


Sequence = Annotated[int, Meta(ge=0, le=999_999_999_999)]


class Device(Record, frozen=True, kw_only=True):
    """A speaker whose envelopes the archive accepts."""

    name: ShortName
    """Short name."""
    key: str
    """Public key, ``ed25519:…``."""

    @property
    def dkey(self) -> str:
        """Fingerprint of the key."""
        return keys.device_id(keys.parse_device(self.key))


class RetiredDevice(Record, frozen=True, kw_only=True):
    """A key of a device that was removed or replaced: nothing new is accepted of it.

    What the archive stored before stays valid: the key verifies envelopes up to ``last_seq``.
    """

    name: ShortName
    """Short name of the device."""
    key: str
    """Public key, ``ed25519:…``."""
    retired_s: Seconds
    """Time of the removal, seconds since 1970."""
    last_seq: Sequence | None = None
    """Highest sequence number that the archive accepted of the key; None until it has set it."""

    @property
    def dkey(self) -> str:
        """Fingerprint of the key."""
        return keys.device_id(keys.parse_device(self.key))


def _digest(answer: str) -> str:
    return digests.sha256(answer.encode("utf-8", "replace")).hex()
