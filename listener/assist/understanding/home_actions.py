"""Effect of a command: from its meaning to MQTT messages. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from listener.assist.understanding.home_file import HomeFile, HomeThing, fill_payload
from listener.assist.understanding.sentences import HomeIntent

_SWITCH_KEYS: Final = {
    "HassTurnOn": {
        "light": "on",
        "switch": "on",
        "climate": "on",
        "cover": "open",
        "scene": "activate",
    },
    "HassTurnOff": {"light": "off", "switch": "off", "climate": "off", "cover": "close"},
}
"""Key of the action, by intent and kind of thing."""

_NUMBER_KEYS: Final = {
    "HassLightSet": ("light", "brightness"),
    "HassSetPosition": ("cover", "position"),
    "HassClimateSetTemperature": ("climate", "temperature"),
}
"""Kind of thing and key of the action, for intents with a number; the slot has the same name."""

HOME_INTENTS: Final = frozenset({*_SWITCH_KEYS, *_NUMBER_KEYS})
"""Intents that change things of the home."""


@dataclass(frozen=True, slots=True)
class ThingMessage:
    """A message to a thing."""

    topic: str
    payload: str


@dataclass(frozen=True, slots=True)
class HomeChange:
    """Result of `resolve`.

    Attributes:
        messages: what is published, in the order of the file; empty where nothing can be done.
        things: what it changes.
        number: brightness, position or temperature, where there is one.
    """

    messages: tuple[ThingMessage, ...]
    things: tuple[HomeThing, ...]
    number: float | None = None


def resolve(intent: HomeIntent, home: HomeFile, area: str | None) -> HomeChange:
    """Return what a command changes.

    Args:
        intent: one of ``HOME_INTENTS``.
        home: the things.
        area: name of the area of the speaker, which decides between things of the same name.
    """
    number: float | None = None
    if intent.name in _NUMBER_KEYS:
        kind, key = _NUMBER_KEYS[intent.name]
        number = float(intent.slots[key])
        keys = {kind: key}
    else:
        keys = _SWITCH_KEYS[intent.name]
    found = [thing for thing in _addressed(intent, home, area) if keys.get(thing.domain)]
    messages, changed = [], []
    for thing in found:
        action = thing.action(keys[thing.domain])
        topic = (action.topic or thing.topic) if action is not None else None
        if action is not None and topic is not None:
            messages.append(ThingMessage(topic, fill_payload(action, number)))
            changed.append(thing)
    return HomeChange(tuple(messages), tuple(changed), number)


def _addressed(intent: HomeIntent, home: HomeFile, area: str | None) -> Sequence[HomeThing]:
    slots = intent.slots
    wanted: list[Callable[[HomeThing], bool]] = []
    if "domain" in slots:
        wanted.append(lambda thing: thing.domain == slots["domain"])
    if "device_class" in slots:
        wanted.append(lambda thing: getattr(thing, "cover_class", None) == slots["device_class"])
    if "area" in slots:
        wanted.append(lambda thing: thing.area == slots["area"])
    if "name" in slots:
        wanted.append(lambda thing: thing.name == slots["name"])
    found = [thing for thing in home.things if all(test(thing) for test in wanted)]
    if "name" in slots and len(found) > 1:
        here = [thing for thing in found if thing.area == area]
        # Two things of one name, neither in this area: it cannot be known which one is meant.
        return here if len(here) == 1 else []
    return found
