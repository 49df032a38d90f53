"""Who may stand in a certificate: a kind and a short name, spelt as the common name. Pure.

The prefix tells a person from a device from a service, so that nobody gets another kind's rights
by being called the same.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from listener.config import ShortName
from listener.errors import UsageError


class Kind(Enum):
    """What an identity is; the value begins its common name."""

    SERVICE = "s"
    DEVICE = "d"
    OWNER = "o"


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One party of the household, as broker and archive know it.

    Args:
        cn: the common name: ``s-``, ``d-`` or ``o-`` and a short name.
    """

    cn: str

    @property
    def kind(self) -> Kind:
        """Say what it is."""
        return Kind(self.cn[0])

    @property
    def name(self) -> str:
        """Return the short name without the prefix."""
        return self.cn[2:]


BROKER: Final = Identity("s-broker")
"""The broker, to those who connect to it. It connects to nobody."""
API: Final = Identity("s-api")
"""The archive, to those who ask it over HTTPS or join the household. It connects to nobody."""
ARCHIVE: Final = Identity("s-archive")
"""The archive at the broker."""
HOUSEHOLD: Final = Identity("s-household")
"""The verb of this name at the broker: says which speakers there are."""
HOME_ASSISTANT: Final = Identity("s-home-assistant")
SERVICES: Final = (BROKER, API, ARCHIVE, HOUSEHOLD, HOME_ASSISTANT)
SERVERS: Final = frozenset({BROKER, API})

_RESERVED: Final = frozenset({"archive"})
"""Its status topic is the archive's own."""


def device(name: str) -> Identity:
    """Return a device's identity.

    Raises:
        UsageError: the name is unfit, or one that would stand where the archive does.
    """
    if name in _RESERVED:
        raise UsageError(f"no device can be called {name}", "its topics would be the archive's")
    return Identity(f"{Kind.DEVICE.value}-{_fit(name, 'a device')}")


def owner(name: str) -> Identity:
    """Return an owner's identity.

    Raises:
        UsageError: the name is unfit.
    """
    return Identity(f"{Kind.OWNER.value}-{_fit(name, 'an owner')}")


def parse(cn: str) -> Identity:
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
            found = Identity(cn)
            if found in SERVICES:
                return found
    raise UsageError(
        f"{cn!r} is nobody in a household",
        "d- and a device's name, o- and an owner's, or one of "
        + ", ".join(service.cn for service in SERVICES),
    )


def _fit(name: str, whose: str) -> str:
    try:
        return msgspec.convert(name, ShortName)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{name!r} is no name for {whose}",
            "1 to 32 of a-z, 0-9 and the hyphen; a pseudonym is best, for the broker sees it",
        ) from error
