"""Plan of a first boot, parsed from the file on the boot partition. Pure.

The file is TOML: the sections of the configuration, ``[owner]`` with the keeper's name and public
key or their answer to a challenge, and ``[household]`` with an invitation line. Each is optional.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import tomli_w
from msgspec import Meta

from listener.config import Config, ShortName, parse_settings, parse_toml, suggest_spaces
from listener.envelope import keys
from listener.errors import ConfigError, UsageError
from listener.household import invitation
from listener.household.identity import IdentityKind
from listener.household.invitation import Invitation
from listener.owner.roster import Roster

Table = Mapping[str, Any]

LIMIT_BYTES: Final = 64 << 10
"""Longest file in bytes; usually it has a few hundred."""
MERGED_BYTES: Final = 4 * LIMIT_BYTES
"""Limit of the copy, which holds the pending steps of earlier files too."""
_DEEPEST: Final = 3
"""Deepest tables or lists: the file, ``[wake]``, ``thresholds``; no key has more."""
_SCALARS: Final = (bool, int, float, str)
_REFUSED: Final = "the file has a date or a table in a list, which no setting accepts"
_OF_THIS_MACHINE: Final = ("home", "update", "archive")
_PATHS: Final = ("password_file", "ca_file", "certificate_file", "key_file")
_BOMS: Final = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def merge_tables(below: Table, above: Table) -> dict[str, Any]:
    """Return ``below`` with the values of ``above`` in their place, table by table."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_tables(old, value) if both and isinstance(old, Mapping) else value
    return merged


def render_toml(table: Table) -> str:
    """Return a table as TOML that parses as the same table.

    Raises:
        ConfigError: it holds a date or a table in a list.
    """
    _check(table)
    return tomli_w.dumps(table)


def _check(value: object) -> None:
    """Refuse TOML values that no setting accepts."""
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


class OwnerRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section ``[owner]``."""

    name: ShortName | None = None
    key: Annotated[str, Meta(max_length=256)] | None = None
    """The owner's public key, ``age1…``."""
    answer: Annotated[str, Meta(max_length=256)] | None = None
    """The decrypted challenge."""


class _HouseholdRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    line: Annotated[str, Meta(max_length=4096)] | None = None


@dataclass(frozen=True, slots=True)
class FirstBootPlan:
    """Steps of a first boot.

    Args:
        settings: validated tables, to be merged over the existing configuration.
        owner: the keeper, or their answer.
        line: invitation to a household, or None.
    """

    settings: dict[str, Any]
    owner: OwnerRequest
    line: Invitation | None


def decode_text(data: bytes) -> str:
    """Return the text of a file with any byte order mark or line ends.

    Raises:
        ConfigError: it is not text, or too long. Nothing else is raised.
    """
    if len(data) > LIMIT_BYTES:
        raise ConfigError(
            f"the file is longer than {LIMIT_BYTES} bytes", "write only the lines that are needed"
        )
    encoding = "utf-8"
    for bom, bom_encoding in _BOMS.items():
        if data.startswith(bom):
            data, encoding = data.removeprefix(bom), bom_encoding
            break
    try:
        return data.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not plain text", "save it as plain text, UTF-8") from error


def parse_tables(text: str, source: str) -> dict[str, Any]:
    """Parse TOML.

    Args:
        text: of the file.
        source: name of the file, for messages.

    Raises:
        ConfigError: it is not TOML. The message has the position, but no content.
    """
    try:
        raw = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        hint = 'write each line as name = value, with text in straight quotes: "…"'
        hint = suggest_spaces(text) or hint
        raise ConfigError(f"{source} is not valid TOML: {error}", hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{source} has a number that is too long or brackets that are too deep"
        ) from error
    if _depth(raw) > _DEEPEST:
        raise ConfigError(
            f"{source} has tables inside of tables", "write [section] and name = value lines"
        )
    return raw


def check_keeper(plan: FirstBootPlan, roster: Roster, source: str) -> None:
    """Check that the keeper is an owner of this speaker, or becomes one by this plan.

    Args:
        plan: the plan.
        roster: owners that the speaker knows.
        source: name of the file, for messages.

    Raises:
        ConfigError: they are not: hear would not start.
    """
    keeper = plan.settings.get("attribution", {}).get("keeper")
    is_new = plan.owner.key is not None and plan.owner.name == keeper
    if keeper is not None and not is_new and roster.owner(keeper) is None:
        raise ConfigError(
            f"{source}: attribution.keeper: this speaker does not know an owner {keeper}",
            "add the lines [owner], name and key; they make the owner the keeper",
        )


def check_mute(plan: FirstBootPlan, settings: Config, source: str) -> None:
    """Check that the plan takes no protection from a speaker with a mute switch.

    Who puts a card in may add a switch or forbid more; to remove a switch, or to describe it
    differently, takes an administrator of the speaker.

    Args:
        plan: the plan.
        settings: configuration of the speaker before the plan.
        source: name of the file, for messages.

    Raises:
        ConfigError: a key of ``[mute]`` would weaken the mute.
    """
    before = settings.mute
    if before.switch in {None, "none"}:
        return
    wanted: Mapping[str, Any] = plan.settings.get("mute", {})
    for key, value in wanted.items():
        is_short = key == "debounce_ms" and value <= _LONGEST_DEBOUNCE_MS
        adds = is_short or value == _ADDED_PROTECTION.get(key)
        if value != getattr(before, key) and not adds:
            raise ConfigError(
                f"{source}: mute.{key} cannot be changed here: this speaker has a mute switch",
                "set it in /etc/earmark/earmark.toml",
            )


_LONGEST_DEBOUNCE_MS: Final = 50
"""Debouncing that a card may set: it delays the mute."""
_ADDED_PROTECTION: Final = {"remote_unmute": False, "other_microphones": "refuse"}
"""Values of ``[mute]`` that a card may set on a speaker with a switch."""


def _depth(raw: object) -> int:
    """Return how deep tables and lists are nested, without recursion."""
    depth, level = 0, [raw]
    while level:
        depth += 1
        inner = [each for each in level if isinstance(each, Mapping | list)]
        level = [
            value
            for each in inner
            for value in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(value, Mapping | list)
        ]
    return depth


def parse(raw: dict[str, Any], source: str) -> FirstBootPlan:
    """Make a plan from tables.

    Args:
        raw: as ``parse_tables`` returns them.
        source: name of the file, for messages.

    Raises:
        ConfigError: a key is unknown, a value out of range, or two contradict each other. Nothing
            else is raised; no message repeats an invitation line or an answer.
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
            f"{source}: device.name is {checked.device.name}, but household.line is for"
            f" {line.identity.name}",
            "remove device.name: the line contains it",
        )
    if owner.key is not None:
        if owner.name is None:
            raise ConfigError(
                f"{source}: owner.key has no owner.name", 'add a line such as name = "ada"'
            )
        owner = msgspec.structs.replace(owner, key=_key(owner.key, source))
        settings = merge_tables(settings, {"attribution": {"keeper": owner.name}})
    elif owner.name is not None and owner.answer is None:
        raise ConfigError(
            f"{source}: owner.name has no owner.key", "add the key: age-keygen -y ada.key prints it"
        )
    return FirstBootPlan(settings, owner, line)


def _parse_named_line(line: Invitation) -> dict[str, Any]:
    return {"device": {"name": line.identity.name}}


def _refuse_paths(rest: dict[str, Any], source: str) -> None:
    for name in _OF_THIS_MACHINE:
        if name in rest:
            raise ConfigError(
                f"{source}: {name} cannot be set here", "set it in /etc/earmark/earmark.toml"
            )
    broker = rest.get("broker")
    for name in _PATHS:
        if isinstance(broker, dict) and name in broker:
            raise ConfigError(
                f"{source}: broker.{name} cannot be set here",
                "use [household] line, which brings the certificate and key",
            )
    device = rest.get("device")
    if isinstance(device, dict) and "confinement" in device:
        raise ConfigError(
            f"{source}: device.confinement cannot be set here",
            "set it in /etc/earmark/earmark.toml",
        )


def _section(value: object, kind: type[Any], name: str, source: str) -> Any:  # noqa: ANN401 - of the kind that is asked for
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        # msgspec's message has the name of a key, but no value.
        raise ConfigError(f"{source}: [{name}]: {error}", f"use only {known}") from error


def _line(text: str, source: str) -> Invitation:
    try:
        invited = invitation.parse_line(text)
    except UsageError as error:
        raise ConfigError(f"{source}: household.line: {error}", error.hint) from error
    if invited.identity.kind is not IdentityKind.DEVICE:
        raise ConfigError(
            f"{source}: household.line is not for a speaker",
            "get one with earmark household add-device",
        )
    return invited


def _key(text: str, source: str) -> str:
    try:
        return keys.parse_recipient(text)
    except ConfigError as error:
        raise ConfigError(f"{source}: owner.key: {error}", error.hint) from error
