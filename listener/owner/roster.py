"""The roster: the household's owners with their public keys, and its devices. Pure.

A roster is immutable; each edit returns a new one. Times are in seconds since 1970. `parse` and
`render` read and write its file, which is JSON; `parse` accepts bytes from anywhere.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from listener.config import check_short_name
from listener.envelope import keys
from listener.envelope.verify import TrustedKey
from listener.errors import ConfigError, UsageError
from listener.owner.records import Device, Owner, Record, RetiredDevice

ARCHIVE: Final = "archive"
"""Reserved name: the archive uses it in topics where devices use their own."""

ROSTER_LIMIT_BYTES: Final = 4 << 20

_Named = TypeVar("_Named", Owner, Device, RetiredDevice)
_ADDED_FIELDS: Final = ("retired_devices", "removed_owners")


class Roster(Record, frozen=True, kw_only=True):
    """The household's owners and devices, each sorted by name.

    Made by `parse` or by edits of an empty roster, so no name and no key is in it twice.
    """

    v: Literal[1] = 1
    owners: tuple[Owner, ...] = ()
    devices: tuple[Device, ...] = ()
    retired_devices: tuple[RetiredDevice, ...] = ()
    """Keys of devices that were removed or replaced; a name may have several."""
    removed_owners: tuple[Owner, ...] = ()
    """Active owners who were removed: when they return with the same key, so do their retired
    keys, and with them their older clips."""

    def owner(self, name: str) -> Owner | None:
        """Return the owner of this name, active or not."""
        return next((owner for owner in self.owners if owner.name == name), None)

    def known_owner(self, name: str) -> Owner:
        """Return the owner of this name, active or not.

        Raises:
            UsageError: there is no such owner; the hint lists the known ones.
        """
        owner = self.owner(name)
        if owner is None:
            raise UsageError(
                f"there is no owner {name!r}", _names(owner.name for owner in self.owners)
            )
        return owner

    def active_owners(self) -> dict[str, str]:
        """Return the active public key of each active owner by name, as ``verify`` takes them."""
        return {owner.name: owner.recipient for owner in self.owners if owner.active}

    def owner_keys(self) -> dict[str, tuple[str, ...]]:
        """Return all public keys of each active owner by name, as ``verify`` takes them."""
        return {owner.name: owner.recipients for owner in self.owners if owner.active}

    def device_keys(self) -> dict[str, Ed25519PublicKey]:
        """Return the public key of each device by name, as ``verify`` takes them."""
        return {device.name: keys.parse_device(device.key) for device in self.devices}

    def stored_device_keys(self) -> dict[str, tuple[TrustedKey, ...]]:
        """Return the keys that verify a *stored* envelope: the active one and the retired ones.

        A new envelope is verified with ``device_keys``.
        """
        found: dict[str, tuple[TrustedKey, ...]] = {
            name: (TrustedKey(key),) for name, key in self.device_keys().items()
        }
        for retired in self.retired_devices:
            trusted = TrustedKey(keys.parse_device(retired.key), retired.last_seq)
            found[retired.name] = (*found.get(retired.name, ()), trusted)
        return found

    def with_owner(self, name: str, recipient: str) -> "Roster":
        """Add an inactive owner; adding the same owner again changes nothing.

        Args:
            name: 1 to 32 of a-z, 0-9 and the hyphen.
            recipient: public key, ``age1…``.

        Raises:
            ConfigError: the recipient is not an age public key.
            UsageError: the name is not valid, or the name or the key is in use.
        """
        added = Owner(
            name=check_short_name(name, "an owner"), recipient=keys.parse_recipient(recipient)
        )
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
        return self._returned(added)

    def with_following(self, name: str, recipient: str) -> "Roster":
        """Add the key that follows an owner's active one; no clip is sealed to it yet.

        Raises:
            ConfigError: the recipient is not an age public key.
            UsageError: there is no active owner of this name, or the key is in use.
        """
        owner = self.known_owner(name)
        if not owner.active:
            raise UsageError(f"{name} has not confirmed their first key")
        following = keys.parse_recipient(recipient)
        if owner.following == following:
            return self
        self._check_free(following)
        return self._replaced(owner.with_following(following))

    def with_new_key(self, name: str, recipient: str) -> "Roster":
        """Replace an owner's active key, which is retired; the caller has checked the proof.

        Raises:
            ConfigError: the recipient is not an age public key.
            UsageError: there is no active owner of this name, or the key is in use.
        """
        owner = self.with_following(name, recipient).known_owner(name)
        return self._replaced(owner.with_rotated_key())

    def without_owner(self, name: str) -> "Roster":
        """Remove an owner; no more clips are made or accepted for them.

        Raises:
            UsageError: there is no owner of this name.
        """
        gone = self.known_owner(name)
        kept = msgspec.structs.replace(gone, active=False, challenge=None, following=None)
        return msgspec.structs.replace(
            self._with_owners(owner for owner in self.owners if owner.name != name),
            removed_owners=(*self.removed_owners, *((kept,) if gone.active else ())),
        )

    def with_challenge(self, name: str, answer: str, now_s: int) -> "Roster":
        """Add a challenge for an owner; it replaces an earlier one.

        Args:
            name: of an owner with an unconfirmed key.
            answer: the plaintext of the challenge; only its hash is stored.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is no owner of this name.
            EarmarkError: the owner has no unconfirmed key.
        """
        return self._replaced(self.known_owner(name).with_challenge(answer, now_s))

    def without_challenges(self) -> "Roster":
        """Return the roster with names and public keys alone, for other services."""
        return self._with_owners(
            msgspec.structs.replace(owner, challenge=None) for owner in self.owners
        )

    def with_confirmation(self, name: str, answer: str, now_s: int) -> "Roster":
        """Check the answer to a challenge; make the owner, or their following key, active.

        A clock that is before the time of the challenge is refused, too: the age of the challenge
        is then unknown.

        Args:
            name: of an owner with an unconfirmed key.
            answer: the owner's answer; surrounding white space is ignored.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is no owner of this name.
            EarmarkError: there is no open challenge, it has expired, or the answer is wrong.
        """
        return self._replaced(self.known_owner(name).with_confirmation(answer, now_s))

    def with_device(self, name: str, key: str) -> "Roster":
        """Add a device; adding the same device again changes nothing.

        A retired key that is added again under its name is active again.

        Args:
            name: 1 to 32 of a-z, 0-9 and the hyphen.
            key: public key, ``ed25519:…``.

        Raises:
            ConfigError: the key is not a device's public key.
            UsageError: the name is not valid, or the name or the key is in use.
        """
        text = keys.device_text(keys.parse_device(key))
        if name == ARCHIVE:
            raise UsageError(
                f"the name {name!r} is reserved for the archive", "choose another name"
            )
        added = Device(name=check_short_name(name, "a device"), key=text)
        if added in self.devices:
            return self
        if any(other.name == name for other in self.devices):
            raise UsageError(
                f"the device {name} has another key",
                f"if its key was replaced: earmark household forget-device {name}",
            )
        if any(other.key == text for other in self.devices):
            raise UsageError("another device has this key", "use the key of this device")
        retired = (one for one in self.retired_devices if (one.name, one.key) != (name, text))
        return self._with_devices((*self.devices, added), retired)

    def without_device(self, name: str, now_s: int) -> "Roster":
        """Remove a device: its key is retired, and new envelopes are no longer accepted.

        Args:
            name: of the device.
            now_s: seconds since 1970.

        Raises:
            UsageError: there is no device of this name.
        """
        gone = next((device for device in self.devices if device.name == name), None)
        if gone is None:
            raise UsageError(
                f"there is no device {name!r}", _names(device.name for device in self.devices)
            )
        retired = RetiredDevice(name=name, key=gone.key, retired_s=now_s)
        return self._with_devices(
            (device for device in self.devices if device is not gone),
            (*self.retired_devices, retired),
        )

    def with_retired_key(self, name: str, key: str, now_s: int) -> "Roster":
        """Add the key of a device that was removed before retired keys were kept.

        The bound of a key that is retired already is dropped, so that the archive sets it again.

        Args:
            name: of the device.
            key: public key, ``ed25519:…``.
            now_s: seconds since 1970.

        Raises:
            ConfigError: the key is not a device's public key.
            UsageError: the name is not valid, or the device is in use with this key.
        """
        text = keys.device_text(keys.parse_device(key))
        if Device(name=check_short_name(name, "a device"), key=text) in self.devices:
            raise UsageError(
                f"{name} is in use with this key",
                f"remove the device: earmark household forget-device {name}",
            )
        others = [one for one in self.retired_devices if (one.name, one.key) != (name, text)]
        known = (one.retired_s for one in self.retired_devices if one not in others)
        retired = RetiredDevice(name=name, key=text, retired_s=next(known, now_s))
        return self._with_devices(self.devices, (*others, retired))

    def with_last_seqs(self, last_seq: Callable[[str], int]) -> "Roster":
        """Set the last accepted sequence number of each retired key that lacks it.

        Args:
            last_seq: returns the highest number accepted of a ``dkey``; 0 without any.
        """
        return self._with_devices(
            self.devices,
            (
                msgspec.structs.replace(one, last_seq=last_seq(one.dkey))
                if one.last_seq is None
                else one
                for one in self.retired_devices
            ),
        )

    def sorted(self) -> "Roster":
        """Return the roster sorted by name, as edits leave it; a file edited by hand may differ."""
        return msgspec.structs.replace(
            self,
            owners=_sorted(self.owners),
            devices=_sorted(self.devices),
            retired_devices=_sorted(self.retired_devices),
            removed_owners=_sorted(self.removed_owners),
        )

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

    def _with_devices(
        self, devices: Iterable[Device], retired: Iterable[RetiredDevice]
    ) -> "Roster":
        return msgspec.structs.replace(
            self, devices=_sorted(devices), retired_devices=_sorted(retired)
        )

    def _returned(self, added: Owner) -> "Roster":
        """Add an owner, with the retired keys of one who was removed with the same key."""
        gone = next(
            (
                one
                for one in self.removed_owners
                if (one.name, one.recipient) == (added.name, added.recipient)
            ),
            added,
        )
        taken = {key for owner in self.owners for key in owner.all_keys}
        retired = tuple(key for key in gone.retired if key not in taken)
        return msgspec.structs.replace(
            self._with_owners((*self.owners, msgspec.structs.replace(added, retired=retired))),
            removed_owners=tuple(one for one in self.removed_owners if one is not gone),
        )


def parse(data: bytes, source: str) -> Roster:
    """Parse a roster file.

    Args:
        data: JSON; any bytes are safe.
        source: its name for messages.

    Raises:
        ConfigError: the bytes are not a roster, or a name or a key is in it twice or is not valid.
            Nothing else is raised.
    """
    hint = "restore it from a backup, or remove it and add owners and devices again"
    if len(data) > ROSTER_LIMIT_BYTES:
        raise ConfigError(f"the roster {source} is longer than {ROSTER_LIMIT_BYTES} bytes", hint)
    try:
        roster = msgspec.json.decode(data, type=Roster)
        stored = [key for owner in roster.owners for key in owner.all_keys]
        canonical = [keys.parse_recipient(key) for key in stored]
        canonical += [keys.device_text(keys.parse_device(device.key)) for device in roster.devices]
        for owner in roster.removed_owners:
            list(map(keys.parse_recipient, owner.recipients))
        for retired in roster.retired_devices:
            keys.parse_device(retired.key)
    except (ValueError, RecursionError, ConfigError) as error:
        raise ConfigError(f"the roster {source} is damaged", hint) from error
    stored += [device.key for device in roster.devices]
    owner_names = {owner.name for owner in roster.owners}
    device_names = {device.name for device in roster.devices}
    # A name may have several keys here, and a key several names: a device may be renamed.
    pairs = [(device.name, device.key) for device in roster.devices]
    pairs += [(retired.name, retired.key) for retired in roster.retired_devices]
    if (
        canonical != stored
        or len(set(canonical)) < len(canonical)
        or len(owner_names) < len(roster.owners)
        or len(device_names) < len(roster.devices)
        or len(set(pairs)) < len(pairs)
    ):
        raise ConfigError(f"the roster {source} has a name or a key twice", hint)
    return roster.sorted()


def render(roster: Roster) -> bytes:
    """Return the roster file: indented JSON, as ``parse`` reads it."""
    fields = msgspec.to_builtins(roster)
    for name in _ADDED_FIELDS:
        # Left out if empty, because versions before them refuse a field that they do not know.
        if not fields[name]:
            del fields[name]
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def _sorted(records: Iterable[_Named]) -> tuple[_Named, ...]:
    return tuple(sorted(records, key=lambda record: record.name))


def _names(names: Iterable[str]) -> str:
    known = ", ".join(names)
    return f"use one of: {known}" if known else "add one first"
