"""Who belongs here: owners with their public keys, and the devices that may sign. Pure.

A roster never changes; each edit returns a new one. Time is handed in as seconds since 1970.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from listener.envelope import keys
from listener.envelope.format import Sha256, ShortName
from listener.errors import ConfigError, EarmarkError, UsageError

CHALLENGE_S: Final = 24 * 3600
ARCHIVE: Final = "archive"
"""No device's name: the archive speaks as it where devices speak."""
ROSTER_LIMIT_BYTES: Final = 4 << 20

Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the roster's file; unknown fields are refused."""


class Challenge(_Record, frozen=True, kw_only=True):
    """A question only the holder of an owner's secret key can answer."""

    sha256: Sha256
    """Of the answer, which is kept nowhere."""
    made_s: Seconds
    expires_s: Seconds


class Owner(_Record, frozen=True, kw_only=True):
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
    def _noted(self) -> tuple[str, ...]:
        return self.recipients if self.following is None else (*self.recipients, self.following)


class Device(_Record, frozen=True, kw_only=True):
    """A speaker whose signature the archive believes."""

    name: ShortName
    key: str
    """Its public key, ``ed25519:…``."""

    @property
    def dkey(self) -> str:
        """The fingerprint of its key."""
        return keys.device_id(keys.parse_device(self.key))


_Named = TypeVar("_Named", Owner, Device)


class Roster(_Record, frozen=True, kw_only=True):
    """The household's owners and devices, each sorted by name.

    Made by ``parse`` or by the edits of an empty one, in which no name and no key stands twice.
    """

    v: Literal[1] = 1
    owners: tuple[Owner, ...] = ()
    devices: tuple[Device, ...] = ()

    def owner(self, name: str) -> Owner | None:
        """Return the owner of this name, active or not."""
        return next((owner for owner in self.owners if owner.name == name), None)

    def known_owner(self, name: str) -> Owner:
        """Return the owner of this name, active or not.

        Raises:
            UsageError: there is none; the hint says who is known.
        """
        owner = self.owner(name)
        if owner is None:
            raise UsageError(
                f"there is no owner {name!r}", _names(owner.name for owner in self.owners)
            )
        return owner

    def active_owners(self) -> dict[str, str]:
        """Return the recipient of each active owner by her name, as ``verify`` wants them."""
        return {owner.name: owner.recipient for owner in self.owners if owner.active}

    def owner_keys(self) -> dict[str, tuple[str, ...]]:
        """Return all keys of each active owner, as ``verify`` wants them for what was sealed."""
        return {owner.name: owner.recipients for owner in self.owners if owner.active}

    def device_keys(self) -> dict[str, Ed25519PublicKey]:
        """Return the key of each device by its name, as ``verify`` wants them."""
        return {device.name: keys.parse_device(device.key) for device in self.devices}

    def with_owner(self, name: str, recipient: str) -> "Roster":
        """Add an owner, inactive; adding her once more changes nothing.

        Args:
            name: 1 to 32 of a-z, 0-9 and the hyphen.
            recipient: her public key.

        Raises:
            ConfigError: the key is none.
            UsageError: the name is unfit, or the name or the key is taken.
        """
        added = Owner(name=_fit(name, "an owner"), recipient=keys.parse_recipient(recipient))
        known = self.owner(name)
        if known is not None and known.recipient == added.recipient:
            return self
        if known is not None:
            raise UsageError(
                f"{name} has another key ({known.okey})",
                f"earmark owner new-key {name} puts another in its place with proof of both;"
                f" if it is lost, earmark owner forget {name} first",
            )
        self._check_free(added.recipient)
        return self._with_owners((*self.owners, added))

    def with_following(self, name: str, recipient: str) -> "Roster":
        """Note the key that is to follow an owner's active one; nothing is sealed to it yet.

        Raises:
            ConfigError: the key is none.
            UsageError: there is no active owner of this name, or the key is somebody's already.
        """
        owner = self.known_owner(name)
        if not owner.active:
            raise UsageError(f"{name} has not confirmed her first key yet")
        spelt = keys.parse_recipient(recipient)
        if owner.following == spelt:
            return self
        self._check_free(spelt)
        return self._replaced(msgspec.structs.replace(owner, following=spelt, challenge=None))

    def with_new_key(self, name: str, recipient: str) -> "Roster":
        """Put a key in place of an owner's active one, which is retired. Proof is the caller's.

        Raises:
            ConfigError: the key is none.
            UsageError: there is no active owner of this name, or the key is somebody's already.
        """
        owner = self.with_following(name, recipient).known_owner(name)
        return self._replaced(_moved_on(owner))

    def without_owner(self, name: str) -> "Roster":
        """Forget an owner: no clip of hers is made or accepted any more.

        Raises:
            UsageError: there is none of this name.
        """
        self.known_owner(name)
        return self._with_owners(owner for owner in self.owners if owner.name != name)

    def challenged(self, name: str, answer: str, now_s: int) -> "Roster":
        """Note a challenge for an owner, in place of an earlier one.

        Args:
            name: of an owner with a key that is to be confirmed.
            answer: what decrypting the challenge will show her; only its hash is kept.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is none of this name.
            EarmarkError: she is active already.
        """
        owner = self._unconfirmed(name)
        challenge = Challenge(sha256=_digest(answer), made_s=now_s, expires_s=now_s + CHALLENGE_S)
        return self._replaced(msgspec.structs.replace(owner, challenge=challenge))

    def confirmed(self, name: str, answer: str, now_s: int) -> "Roster":
        """Make an owner active, or her following key the active one: she answered her challenge.

        A clock that went back behind the challenge's making refuses too: nobody can say then how
        old it is.

        Args:
            name: of an owner with a key that is to be confirmed.
            answer: what she read; white space around it does not count.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is none of this name.
            EarmarkError: she is active already, was not challenged, is late, or is wrong.
        """
        owner = self._unconfirmed(name)
        again = f"ask anew: earmark owner challenge {name}"
        challenge = owner.challenge
        if challenge is None:
            raise EarmarkError(f"{name} was not challenged", again)
        if not challenge.made_s <= now_s < challenge.expires_s:
            raise EarmarkError(f"the challenge for {name} has expired", again)
        if not hmac.compare_digest(_digest(answer.strip()), challenge.sha256):
            raise EarmarkError(
                f"this is not the answer to the last challenge for {name}",
                f"the newest one counts: earmark owner challenge {name} | age -d -i {name}.key",
            )
        if owner.following is not None:
            return self._replaced(_moved_on(owner))
        return self._replaced(msgspec.structs.replace(owner, active=True, challenge=None))

    def with_device(self, name: str, key: str) -> "Roster":
        """Add a device; adding it once more changes nothing.

        Args:
            name: 1 to 32 of a-z, 0-9 and the hyphen.
            key: its public key, ``ed25519:…``.

        Raises:
            ConfigError: the key is none.
            UsageError: the name is unfit, or the name or the key is taken.
        """
        text = keys.device_text(keys.parse_device(key))
        if name == ARCHIVE:
            raise UsageError(f"{name!r} is the archive's own name in topics", "choose another")
        added = Device(name=_fit(name, "a device"), key=text)
        if added in self.devices:
            return self
        if any(other.name == name for other in self.devices):
            raise UsageError(
                f"the device {name} has another key",
                f"if it was made anew, earmark household forget-device {name} first",
            )
        if any(other.key == text for other in self.devices):
            raise UsageError("another device has this key", "each device makes its own")
        return self._with_devices((*self.devices, added))

    def without_device(self, name: str) -> "Roster":
        """Forget a device: its signature counts no more.

        Raises:
            UsageError: there is none of this name.
        """
        if all(device.name != name for device in self.devices):
            raise UsageError(
                f"there is no device {name!r}", _names(device.name for device in self.devices)
            )
        return self._with_devices(device for device in self.devices if device.name != name)

    def _unconfirmed(self, name: str) -> Owner:
        owner = self.known_owner(name)
        if owner.active and owner.following is None:
            raise EarmarkError(f"{name} is confirmed already")
        return owner

    def _check_free(self, recipient: str) -> None:
        if any(recipient in owner._noted for owner in self.owners):  # noqa: SLF001 - its own kind
            raise UsageError(
                "another owner has this key, or she had it before",
                "each owner makes her own with age-keygen: who shares a key shares every clip",
            )

    def _replaced(self, owner: Owner) -> "Roster":
        return self._with_owners(
            owner if other.name == owner.name else other for other in self.owners
        )

    def _with_owners(self, owners: Iterable[Owner]) -> "Roster":
        return msgspec.structs.replace(self, owners=_sorted(owners))

    def _with_devices(self, devices: Iterable[Device]) -> "Roster":
        return msgspec.structs.replace(self, devices=_sorted(devices))


def parse(data: bytes, source: str) -> Roster:
    """Read a roster.

    Args:
        data: any bytes at all.
        source: where they came from, for messages.

    Raises:
        ConfigError: they are no roster, or a name or a key stands in it twice, or is none. Nothing
            else is ever raised.
    """
    hint = "restore it from a backup, or remove it and add owners and devices again"
    if len(data) > ROSTER_LIMIT_BYTES:
        raise ConfigError(f"the roster {source} is too long to be one", hint)
    try:
        roster = msgspec.json.decode(data, type=Roster)
        noted = [key for owner in roster.owners for key in owner._noted]  # noqa: SLF001 - its own kind
        text = [keys.parse_recipient(key) for key in noted]
        text += [keys.device_text(keys.parse_device(device.key)) for device in roster.devices]
    except (ValueError, RecursionError, ConfigError) as error:
        raise ConfigError(f"the roster {source} is damaged", hint) from error
    spelt = [*noted]
    spelt += [device.key for device in roster.devices]
    owner_names = {owner.name for owner in roster.owners}
    device_names = {device.name for device in roster.devices}
    if (
        text != spelt
        or len(set(text)) < len(text)
        or len(owner_names) < len(roster.owners)
        or len(device_names) < len(roster.devices)
    ):
        raise ConfigError(f"the roster {source} has a name or a key twice", hint)
    # Sorted here, so that a file edited by hand equals the one we would write.
    return Roster(owners=_sorted(roster.owners), devices=_sorted(roster.devices))


def render(roster: Roster) -> bytes:
    """Write a roster as ``parse`` reads it: JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(roster), indent=2) + b"\n"


def _fit(name: str, whose: str) -> str:
    try:
        return msgspec.convert(name, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is no name for {whose}",
            "1 to 32 of a-z, 0-9 and the hyphen; a pseudonym is best, for the broker sees it",
        ) from error


def _moved_on(owner: Owner) -> Owner:
    if owner.following is None:
        return owner
    return msgspec.structs.replace(
        owner,
        recipient=owner.following,
        following=None,
        challenge=None,
        retired=(owner.recipient, *owner.retired),
    )


def _sorted(records: Iterable[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(records, key=lambda record: record.name))


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode("utf-8", "replace")).hexdigest()


def _names(names: Iterable[str]) -> str:
    return f"known: {', '.join(names) or 'none yet'}"
