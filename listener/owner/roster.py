"""The roster: the household's owners with their public keys, and its devices. Pure.

A roster is immutable; each edit returns a new one. Times are in seconds since 1970. `parse` and
`render` read and write its file, which is JSON; `parse` accepts bytes from anywhere.
"""

from collections.abc import Iterable
from typing import Final, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.envelope import keys
from listener.envelope.format import ShortName
from listener.errors import ConfigError, UsageError
from listener.owner.records import Device, Owner, Record

ARCHIVE: Final = "archive"
"""No device's name: the archive speaks as it where devices speak."""

ROSTER_LIMIT_BYTES: Final = 4 << 20

_Named = TypeVar("_Named", Owner, Device)


class Roster(Record, frozen=True, kw_only=True):
    """The household's owners and devices, each sorted by name.

    Made by ``format.parse`` or by the edits of an empty one: no name and no key stands in it twice.
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
        added = Owner(name=_check_name(name, "an owner"), recipient=keys.parse_recipient(recipient))
        known = self.owner(name)
        if known is not None and known.recipient == added.recipient:
            return self
        if known is not None:
            raise UsageError(
                f"{name} has another key ({known.okey})",
                f"replace it with proof of both keys: earmark owner new-key {name};"
                f" if it is lost: earmark owner forget {name}",
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
            raise UsageError(f"{name} has not confirmed their first key")
        spelt = keys.parse_recipient(recipient)
        if owner.following == spelt:
            return self
        self._check_free(spelt)
        return self._replaced(owner.with_following(spelt))

    def with_new_key(self, name: str, recipient: str) -> "Roster":
        """Put a key in place of an owner's active one, which is retired. Proof is the caller's.

        Raises:
            ConfigError: the key is none.
            UsageError: there is no active owner of this name, or the key is somebody's already.
        """
        owner = self.with_following(name, recipient).known_owner(name)
        return self._replaced(owner.with_rotated_key())

    def without_owner(self, name: str) -> "Roster":
        """Forget an owner: no clip of hers is made or accepted any more.

        Raises:
            UsageError: there is none of this name.
        """
        self.known_owner(name)
        return self._with_owners(owner for owner in self.owners if owner.name != name)

    def with_challenge(self, name: str, answer: str, now_s: int) -> "Roster":
        """Note a challenge for an owner, in place of an earlier one.

        Args:
            name: of an owner with a key that is to be confirmed.
            answer: what decrypting the challenge will show her; only its hash is kept.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is none of this name.
            EarmarkError: she is active already.
        """
        return self._replaced(self.known_owner(name).with_challenge(answer, now_s))

    def with_confirmation(self, name: str, answer: str, now_s: int) -> "Roster":
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
        return self._replaced(self.known_owner(name).with_confirmation(answer, now_s))

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
            raise UsageError(
                f"the name {name!r} is reserved for the archive", "choose another name"
            )
        added = Device(name=_check_name(name, "a device"), key=text)
        if added in self.devices:
            return self
        if any(other.name == name for other in self.devices):
            raise UsageError(
                f"the device {name} has another key",
                f"if its key was replaced: earmark household forget-device {name}",
            )
        if any(other.key == text for other in self.devices):
            raise UsageError("another device has this key", "use the key of this device")
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

    def sorted(self) -> "Roster":
        """Return it as its own edits leave it, so that a file edited by hand is like any other."""
        return Roster(owners=_sorted(self.owners), devices=_sorted(self.devices))

    def _check_free(self, recipient: str) -> None:
        if any(recipient in owner.all_keys for owner in self.owners):
            raise UsageError(
                "this key is in use, or was used before",
                "make a new key for this owner: age-keygen -o NAME.key",
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
        raise ConfigError(f"the roster {source} is longer than {ROSTER_LIMIT_BYTES} bytes", hint)
    try:
        roster = msgspec.json.decode(data, type=Roster)
        noted = [key for owner in roster.owners for key in owner.all_keys]
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
    return roster.sorted()


def render(roster: Roster) -> bytes:
    """Write a roster as ``parse`` reads it: JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(roster), indent=2) + b"\n"


def _check_name(name: str, kind: str) -> str:
    try:
        return msgspec.convert(name, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is not a valid name for {kind}",
            "use 1 to 32 of a-z, 0-9 and the hyphen; prefer a pseudonym, since the broker reads it",
        ) from error


def _sorted(records: Iterable[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(records, key=lambda record: record.name))


def _names(names: Iterable[str]) -> str:
    known = ", ".join(names)
    return f"use one of: {known}" if known else "add one first"
