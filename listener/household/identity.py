"""Identities of a household: a kind and a short name, written as a certificate's common name. Pure.

The prefix separates owners, devices and services, so that an owner does not get the rights of a
device or service of the same name.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from listener.config import check_short_name
from listener.errors import UsageError


class IdentityKind(Enum):
    """Kind of an identity; the value is the first letter of its common name."""

    SERVICE = "s"
    DEVICE = "d"
    OWNER = "o"


@dataclass(frozen=True, slots=True, order=True)
class HouseholdIdentity:
    """One member of the household, as the broker and the archive identify it.

    Args:
        cn: the common name: ``s-``, ``d-`` or ``o-`` and a short name.
    """

    cn: str

    @property
    def kind(self) -> IdentityKind:
        """Return its kind."""
        return IdentityKind(self.cn[0])

    @property
    def name(self) -> str:
        """Return the short name without the prefix."""
        return self.cn[2:]


BROKER: Final = HouseholdIdentity("s-broker")
"""The broker as a TLS server. It is never a client."""
API: Final = HouseholdIdentity("s-api")
"""The archive as a TLS server, for HTTPS requests and for joining. It is never a client."""
ARCHIVE: Final = HouseholdIdentity("s-archive")
"""The archive as a client of the broker."""
HOUSEHOLD: Final = HouseholdIdentity("s-household")
"""``earmark household`` as a client of the broker; publishes discovery messages."""
ASSIST: Final = HouseholdIdentity("s-assist")
"""The service that carries out spoken commands, as a client of the broker."""
HOME_ASSISTANT: Final = HouseholdIdentity("s-home-assistant")
PROXY: Final = HouseholdIdentity("s-proxy")
"""The trusted proxy in front of the archive, as a client of it. It has no rights at the broker."""
MOST_ARCHIVES: Final = 99
MOST_BROKERS: Final = 8
SERVICES: Final = (BROKER, API, ARCHIVE, HOUSEHOLD, ASSIST, HOME_ASSISTANT, PROXY)
OPTIONAL: Final = frozenset({ASSIST, HOME_ASSISTANT, PROXY})
"""Services that a household has only if they were added; each can be revoked."""
SERVERS: Final = frozenset({BROKER, API})


def archive(instance: int) -> HouseholdIdentity:
    """Return the identity of one of several archive processes; of the only one for 0."""
    return HouseholdIdentity(f"{ARCHIVE.cn}-{instance}") if instance else ARCHIVE


def broker(number: int) -> HouseholdIdentity:
    """Return the identity of a broker as a TLS server; 1 is the one on the archive's computer."""
    return HouseholdIdentity(f"{BROKER.cn}-{number}") if number > 1 else BROKER


def is_archive(who: HouseholdIdentity) -> bool:
    """Return whether an identity is an archive as a client of the broker."""
    return who == ARCHIVE or who in _ARCHIVES


def is_revocable(who: HouseholdIdentity) -> bool:
    """Return whether an identity can be revoked: not a service that every household has."""
    is_added = who in OPTIONAL or who in _ARCHIVES
    return who.kind is not IdentityKind.SERVICE or is_added


def is_server(who: HouseholdIdentity) -> bool:
    """Return whether an identity is a TLS server; it is never a client."""
    return who in SERVERS or who in _BROKERS


_ARCHIVES: Final = frozenset(archive(number) for number in range(1, MOST_ARCHIVES + 1))
_BROKERS: Final = frozenset(broker(number) for number in range(2, MOST_BROKERS + 1))

_RESERVED: Final = frozenset({"archive"})
"""Names whose topics belong to a service."""


def device(name: str) -> HouseholdIdentity:
    """Return a device's identity.

    Raises:
        UsageError: the name is not valid, or is reserved for a service.
    """
    if name in _RESERVED:
        raise UsageError(
            f"the device name {name} is reserved for the archive", "choose another name"
        )
    return HouseholdIdentity(f"{IdentityKind.DEVICE.value}-{check_short_name(name, 'a device')}")


def owner(name: str) -> HouseholdIdentity:
    """Return an owner's identity.

    Raises:
        UsageError: the name is not valid.
    """
    return HouseholdIdentity(f"{IdentityKind.OWNER.value}-{check_short_name(name, 'an owner')}")


def parse(cn: str) -> HouseholdIdentity:
    """Parse a common name.

    Raises:
        UsageError: the text is not a common name of this household.
    """
    match cn[:2]:
        case "d-":
            return device(cn[2:])
        case "o-":
            return owner(cn[2:])
        case _:
            service = HouseholdIdentity(cn)
            if service in SERVICES or service in _ARCHIVES or service in _BROKERS:
                return service
    raise UsageError(
        f"{cn!r} is not a valid identity",
        "give d-DEVICE, o-OWNER or one of " + ", ".join(service.cn for service in SERVICES),
    )
