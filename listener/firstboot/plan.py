"""What a person wrote for a speaker's first boot: the settings' own sections, and two more. Pure.

``[owner]`` names the keeper with her public key, or brings her answer; ``[household]`` has the
line that invites. A file may hold any of it: what is not said stays as it is.

TOML out of dictionaries, and one over another. Pure.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import tomli_w
from msgspec import Meta

from listener.config import ShortName, parse_settings
from listener.envelope import keys
from listener.errors import ConfigError, UsageError
from listener.household import invitation
from listener.household.identity import IdentityKind
from listener.household.invitation import Invitation

Table = Mapping[str, Any]

_SCALARS: Final = (bool, int, float, str)
_REFUSED: Final = "there is a date, or a table in a list, where no setting is one"


def merge_tables(below: Table, above: Table) -> dict[str, Any]:
    """Return ``below`` with every value that ``above`` has in its place, table by table."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_tables(old, value) if both and isinstance(old, Mapping) else value
    return merged


def render_toml(table: Table) -> str:
    """Write a table as TOML that reads as the same table.

    Raises:
        ConfigError: it holds what no setting is: a date, or a table in a list.
    """
    _check(table)
    return tomli_w.dumps(table)


def _check(value: object) -> None:
    """Refuse what TOML can say and no setting holds."""
    if isinstance(value, Mapping):
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Mapping):
                raise ConfigError(_REFUSED)
            _check(item)
    elif not isinstance(value, _SCALARS):
        raise ConfigError(_REFUSED)


LIMIT_BYTES: Final = 64 << 10
"""Of the file; one is a few hundred."""

_OF_THIS_MACHINE: Final = ("home", "update", "archive")
_PATHS: Final = ("password_file", "ca_file", "certificate_file", "key_file")
_BOMS: Final = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class OwnerRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``[owner]``."""

    name: ShortName | None = None
    key: Annotated[str, Meta(max_length=256)] | None = None
    """Her public key, ``age1…``."""
    answer: Annotated[str, Meta(max_length=256)] | None = None
    """What she read in the challenge."""


class _HouseholdRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    line: Annotated[str, Meta(max_length=4096)] | None = None


@dataclass(frozen=True, slots=True)
class FirstBootPlan:
    """What is to be done.

    Args:
        settings: tables of settings, checked, to be laid over those that are there.
        owner: whose clips the speaker makes.
        line: by which it joins a household.
    """

    settings: dict[str, Any]
    owner: OwnerRequest
    line: Invitation | None


def decode_text(data: bytes) -> str:
    """Return the text of a file, as the editors of other systems leave it.

    Raises:
        ConfigError: it is no text, or too long to be one of these. Nothing else is raised.
    """
    if len(data) > LIMIT_BYTES:
        raise ConfigError("the file is too long", "a few lines are enough")
    encoding = "utf-8"
    for bom, found in _BOMS.items():
        if data.startswith(bom):
            data, encoding = data.removeprefix(bom), found
            break
    try:
        return data.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError("the file is no plain text", "save it as plain text, UTF-8") from error


def parse_tables(text: str, source: str) -> dict[str, Any]:
    """Read the tables of a file.

    Raises:
        ConfigError: it is not TOML. The message repeats nothing of it but the place.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = (
            'each line is: name = value, and every text stands in straight quotes, like this: "…"'
        )
        raise ConfigError(f"{source} is not as it should be written: {error}", hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} has a number too long or brackets too deep") from error


def parse(raw: dict[str, Any], source: str) -> FirstBootPlan:
    """Make a plan of tables.

    Args:
        raw: as ``parse_tables`` returns them.
        source: what people call the file, for messages.

    Raises:
        ConfigError: something in it is not known, not in its range, or contradicts the rest.
            Nothing else is raised; no message repeats the line that invites, or an answer.
    """
    rest = dict(raw)
    owner = _section(rest.pop("owner", {}), OwnerRequest, "owner", source)
    household = _section(rest.pop("household", {}), _HouseholdRequest, "household", source)
    _refuse_paths(rest, source)
    line = None if household.line is None else _line(household.line, source)
    settings = merge_tables({} if line is None else _parse_named_line(line), rest)
    checked = parse_settings(render_toml(settings), source)
    if line is not None and checked.device.name != line.identity.name:
        raise ConfigError(
            f"{source}: the speaker is called {checked.device.name}, and the line is for"
            f" {line.identity.name}",
            "leave [device] name out: the line brings it",
        )
    if owner.key is not None:
        if owner.name is None:
            raise ConfigError(f"{source}: owner.key has no owner.name", 'such as name = "ada"')
        owner = msgspec.structs.replace(owner, key=_key(owner.key, source))
        settings = merge_tables(settings, {"attribution": {"keeper": owner.name}})
    elif owner.name is not None and owner.answer is None:
        raise ConfigError(
            f"{source}: owner.name has no owner.key", "age-keygen -y ada.key prints it"
        )
    return FirstBootPlan(settings, owner, line)


def _parse_named_line(line: Invitation) -> dict[str, Any]:
    return {"device": {"name": line.identity.name}}


def _refuse_paths(rest: dict[str, Any], source: str) -> None:
    for name in _OF_THIS_MACHINE:
        if name in rest:
            raise ConfigError(
                f"{source}: {name} is not set from here", "it stands in /etc/earmark/earmark.toml"
            )
    broker = rest.get("broker")
    for name in _PATHS:
        if isinstance(broker, dict) and name in broker:
            raise ConfigError(
                f"{source}: broker.{name} is not set from here",
                "a household's line brings certificate and key: [household] line",
            )
    device = rest.get("device")
    if isinstance(device, dict) and "confinement" in device:
        raise ConfigError(f"{source}: device.confinement is not set from here")


def _section(value: object, kind: type[Any], name: str, source: str) -> Any:  # noqa: ANN401 - of the kind that is asked for
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        # msgspec repeats a key's name, never a value.
        raise ConfigError(f"{source}: [{name}]: {error}", f"it takes {known}") from error


def _line(text: str, source: str) -> Invitation:
    try:
        invited = invitation.parse_line(text)
    except UsageError as error:
        raise ConfigError(f"{source}: household.line: {error}", error.hint) from error
    if invited.identity.kind is not IdentityKind.DEVICE:
        raise ConfigError(
            f"{source}: household.line is not a speaker's",
            "earmark household add-device prints one",
        )
    return invited


def _key(text: str, source: str) -> str:
    try:
        return keys.parse_recipient(text)
    except ConfigError as error:
        raise ConfigError(f"{source}: owner.key: {error}", error.hint) from error
