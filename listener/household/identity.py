"""Who may stand in a certificate: a kind and a short name, spelt as the common name. Pure.

The prefix tells a person from a device from a service, so that nobody gets another kind's rights
by being called the same.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from listener.config import check_short_name
from listener.errors import UsageError


class IdentityKind(Enum):
    """What an identity is; the value begins its common name."""

    SERVICE = "s"
    DEVICE = "d"
    OWNER = "o"


@dataclass(frozen=True, slots=True, order=True)
class HouseholdIdentity:
    """One party of the household, as broker and archive know it.

    Args:
        cn: the common name: ``s-``, ``d-`` or ``o-`` and a short name.
    """

    cn: str

    @property
    def kind(self) -> IdentityKind:
        """Say what it is."""
        return IdentityKind(self.cn[0])

    @property
    def name(self) -> str:
        """Return the short name without the prefix."""
        return self.cn[2:]


BROKER: Final = HouseholdIdentity("s-broker")
"""The broker, to those who connect to it. It connects to nobody."""
API: Final = HouseholdIdentity("s-api")
"""The archive, to those who ask it over HTTPS or join the household. It connects to nobody."""
ARCHIVE: Final = HouseholdIdentity("s-archive")
"""The archive at the broker."""
HOUSEHOLD: Final = HouseholdIdentity("s-household")
"""The verb of this name at the broker: says which speakers there are."""
HOME_ASSISTANT: Final = HouseholdIdentity("s-home-assistant")
SERVICES: Final = (BROKER, API, ARCHIVE, HOUSEHOLD, HOME_ASSISTANT)
SERVERS: Final = frozenset({BROKER, API})

_RESERVED: Final = frozenset({"archive"})
"""Its status topic is the archive's own."""


def device(name: str) -> HouseholdIdentity:
    """Return a device's identity.

    Raises:
        UsageError: the name is unfit, or one that would stand where the archive does.
    """
    if name in _RESERVED:
        raise UsageError(f"no device can be called {name}", "its topics would be the archive's")
    return HouseholdIdentity(f"{IdentityKind.DEVICE.value}-{check_short_name(name, 'a device')}")


def owner(name: str) -> HouseholdIdentity:
    """Return an owner's identity.

    Raises:
        UsageError: the name is unfit.
    """
    return HouseholdIdentity(f"{IdentityKind.OWNER.value}-{check_short_name(name, 'an owner')}")


def parse(cn: str) -> HouseholdIdentity:
    """Read a common name.

    Raises:
        UsageError: it is none of the household's.
    """
    match cn[:2]:
        case "d-":
            return device(cn[2:])
        case "o-":
            return owner(cn[2:])
        case _:
            found = HouseholdIdentity(cn)
            if found in SERVICES:
                return found
    raise UsageError(
        f"{cn!r} is nobody in a household",
        "d- and a device's name, o- and an owner's, or one of "
        + ", ".join(service.cn for service in SERVICES),
    )
