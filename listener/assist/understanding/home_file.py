"""Reads the file of the home's things: areas, names, MQTT topics and payloads. Pure.

``docs/reference/home.example.toml`` is an annotated example.
"""

import re
import tomllib
from collections import Counter
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from listener.config import BrokerSettings, ShortName, parse_toml
from listener.errors import ConfigError

LIMIT_BYTES: Final = 256 << 10
"""Longest file, in bytes."""

SpokenName = Annotated[str, Meta(pattern=r"^[^\W\d_]+(?:[ '\-][^\W\d_]+){0,7}\Z", max_length=64)]
"""Name as it is spoken: 1 to 8 words of letters, separated by a space, hyphen or apostrophe."""

_Topic = Annotated[str, Meta(pattern=r"^[^+#$\x00-\x1f][^+#\x00-\x1f]*\Z", max_length=256)]
_Payload = Annotated[str, Meta(max_length=1024)]
_VALUE: Final = "{value}"
_OWN_TOPICS: Final = "earmark/"

CoverClass = Literal[
    "awning", "blind", "curtain", "door", "garage", "gate", "shade", "shutter", "window"
]
"""Class of a cover, as Home Assistant's sentences name it."""


class HomeTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are refused."""


class MqttAction(HomeTable, frozen=True, kw_only=True):
    """A message that carries something out."""

    payload: _Payload
    """Text of the message; ``{value}`` is replaced by the number, where the action has one."""
    topic: _Topic | None = None
    """Topic; by default the thing's."""
    scale: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Factor from the spoken number to ``{value}``, such as 2.54 from percent to 0 to 254."""


Action: TypeAlias = _Payload | MqttAction
"""A payload for the thing's topic, or a table with ``payload``, ``topic`` and ``scale``."""


class Area(HomeTable, frozen=True, kw_only=True):
    """A room or another part of the home."""

    name: SpokenName
    """Name as it is spoken."""
    aliases: tuple[SpokenName, ...] = ()
    """Other names of it."""
    speakers: tuple[ShortName, ...] = ()
    """Names of the speakers that stand in it."""


class HomeThing(HomeTable, frozen=True, kw_only=True, tag_field="kind"):
    """What every thing has."""

    name: SpokenName
    """Name as it is spoken; it may repeat in another area."""
    aliases: tuple[SpokenName, ...] = ()
    """Other names of it."""
    area: SpokenName | None = None
    """Name of its area."""
    topic: _Topic | None = None
    """Topic of the actions that name none."""

    actions: ClassVar[tuple[str, ...]] = ()
    """Keys of the actions."""
    valued: ClassVar[tuple[str, ...]] = ()
    """Those of them that have a number."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def domain(self) -> str:
        """Return the kind, which is the domain in Home Assistant's sentences."""
        return str(self.__struct_config__.tag)

    def action(self, key: str) -> MqttAction | None:
        """Return an action, or None where the thing does not have it.

        Args:
            key: one of ``actions``.
        """
        value: Action | None = getattr(self, key, None)
        return MqttAction(payload=value) if isinstance(value, str) else value


class MqttLight(HomeThing, frozen=True, kw_only=True, tag="light"):
    """A lamp, or a group of lamps."""

    on: Action
    """Turns it on."""
    off: Action
    """Turns it off."""
    brightness: Action | None = None
    """Sets the brightness; the number is 0 to 100 percent."""

    actions: ClassVar[tuple[str, ...]] = ("on", "off", "brightness")
    valued: ClassVar[tuple[str, ...]] = ("brightness",)


class MqttSwitch(HomeThing, frozen=True, kw_only=True, tag="switch"):
    """A socket, a fan, a machine: something with on and off."""

    on: Action
    """Turns it on."""
    off: Action
    """Turns it off."""

    actions: ClassVar[tuple[str, ...]] = ("on", "off")


class MqttCover(HomeThing, frozen=True, kw_only=True, tag="cover", rename={"cover_class": "class"}):
    """A blind, a curtain, a door."""

    open: Action
    """Opens it."""
    close: Action
    """Closes it."""
    position: Action | None = None
    """Sets the position; the number is 0, closed, to 100, open."""
    cover_class: CoverClass | None = None
    """Class, so that "the blinds" means it in its area."""

    actions: ClassVar[tuple[str, ...]] = ("open", "close", "position")
    valued: ClassVar[tuple[str, ...]] = ("position",)


class MqttScene(HomeThing, frozen=True, kw_only=True, tag="scene"):
    """A scene, or an automation of the home."""

    activate: Action
    """Activates it."""

    actions: ClassVar[tuple[str, ...]] = ("activate",)


class MqttClimate(HomeThing, frozen=True, kw_only=True, tag="climate"):
    """A thermostat."""

    temperature: Action
    """Sets the temperature, in the unit of the home."""
    on: Action | None = None
    """Turns it on."""
    off: Action | None = None
    """Turns it off."""

    actions: ClassVar[tuple[str, ...]] = ("temperature", "on", "off")
    valued: ClassVar[tuple[str, ...]] = ("temperature",)


_Thing: TypeAlias = MqttLight | MqttSwitch | MqttCover | MqttScene | MqttClimate


class HomeFile(HomeTable, frozen=True, kw_only=True):
    """The whole file."""

    language: Annotated[str, Meta(pattern=r"^[a-z]{2,3}(?:-[A-Za-z]{2,4})?\Z")] = "en"
    """Language of the sentences, as in the package home-assistant-intents."""
    broker: BrokerSettings = BrokerSettings()
    """The broker of the things; keys as in the section ``broker`` of the configuration."""
    areas: Annotated[tuple[Area, ...], Meta(max_length=64)] = ()
    """The areas."""
    things: Annotated[tuple[_Thing, ...], Meta(max_length=256)] = ()
    """The things."""

    def area_of(self, device: str) -> str | None:
        """Return the name of the area of a speaker, or None where it has none."""
        return next((area.name for area in self.areas if device in area.speakers), None)


def parse_home_file(text: str, source: str) -> HomeFile:
    """Read the file of the home's things.

    Args:
        text: TOML.
        source: name of the file, for messages.

    Raises:
        ConfigError: not TOML, an unknown key, a value out of its range, or names that contradict
            each other.
    """
    try:
        raw = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is not TOML: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{source} has a number too long or brackets too deep") from error
    try:
        home = msgspec.convert(raw, HomeFile)
    except msgspec.ValidationError as error:
        expected, _, path = str(error).partition(" - at `$")
        where = f"{_place(path.strip('`.'), raw)}: " if path else ""
        raise ConfigError(
            f"{source}: {where}{expected[0].lower()}{expected[1:]}",
            "see docs/reference/home.example.toml for each kind and its keys",
        ) from error
    _check_areas(home, source)
    for thing in home.things:
        _check_thing(thing, home, source)
    _check_names(home, source)
    return home


_PATH_IN_TABLE: Final = re.compile(r"^(areas|things)\[(\d+)\]")


def _place(path: str, raw: dict[str, Any]) -> str:
    """Return the place of an error, with the name of the area or thing where it has one."""
    found = _PATH_IN_TABLE.match(path)
    if found is None:
        return path
    rows = raw.get(found[1])
    row = rows[int(found[2])] if isinstance(rows, list) else None
    name = row.get("name") if isinstance(row, dict) else None
    return f"{path} ({name})" if isinstance(name, str) else path


def _check_areas(home: HomeFile, source: str) -> None:
    names = Counter(name.lower() for area in home.areas for name in (area.name, *area.aliases))
    speakers = Counter(speaker for area in home.areas for speaker in area.speakers)
    for counts, kind in ((names, "area"), (speakers, "speaker")):
        for name, times in counts.items():
            if times > 1:
                raise ConfigError(
                    f"{source}: the {kind} {name} is named {times} times in areas",
                    "name it once",
                )


def _check_thing(thing: HomeThing, home: HomeFile, source: str) -> None:
    where = f"{source}: the {thing.domain} {thing.name}"
    if thing.area is not None and all(thing.area != area.name for area in home.areas):
        raise ConfigError(
            f"{where} is in the area {thing.area}, which is not in areas",
            f'add [[areas]] with name = "{thing.area}", or correct the area of the thing',
        )
    for key in thing.actions:
        action = thing.action(key)
        if action is None:
            continue
        topic = action.topic or thing.topic
        if topic is None:
            raise ConfigError(f"{where} has no topic for {key}", "add topic to the thing")
        if topic.startswith(_OWN_TOPICS):
            raise ConfigError(
                f"{where} has the topic {topic}, which belongs to Earmark",
                "name the topic of the thing itself",
            )
        if (key in thing.valued) != (_VALUE in action.payload):
            problem = f"lacks {_VALUE}" if key in thing.valued else f"contains {_VALUE}"
            raise ConfigError(
                f"{where}: the payload of {key} {problem}",
                f"put {_VALUE} where the number belongs, in brightness, position and temperature",
            )


def _check_names(home: HomeFile, source: str) -> None:
    seen: set[tuple[str, str | None]] = set()
    for thing in home.things:
        for name in thing.names:
            key = (name.lower(), thing.area)
            if key in seen:
                raise ConfigError(
                    f"{source}: two things in the same area are named {name}",
                    "give each its own name, or put them into different areas",
                )
            seen.add(key)


def fill_payload(action: MqttAction, number: float | None) -> str:
    """Return the text of a message.

    Args:
        action: from the file.
        number: the spoken number, or None without one.
    """
    if number is None:
        return action.payload
    # Whole numbers of a finer scale, and at most two decimals else: 127 of 254, but 0.35 of 1.
    scaled = number * action.scale
    text = str(round(scaled)) if action.scale > 1 else f"{scaled:.2f}".rstrip("0").rstrip(".")
    return action.payload.replace(_VALUE, text)
