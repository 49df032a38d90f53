"""The roster's file: JSON, read as if anybody had written it. Pure."""

from typing import Final

import msgspec

from listener.envelope import keys
from listener.errors import ConfigError
from listener.owner.roster import Roster

ROSTER_LIMIT_BYTES: Final = 4 << 20


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
