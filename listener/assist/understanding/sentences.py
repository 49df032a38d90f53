"""Sentences of a home: Home Assistant's templates, with the names of the home's things.

The templates come from the package home-assistant-intents (CC BY 4.0) and are matched by hassil.
Only the intents are kept that can be carried out here. Matching has no effect outside.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hassil.expression import Sentence, TextChunk
from hassil.intents import IntentData, Intents, SlotList, TextSlotList, TextSlotValue
from hassil.recognize import RecognizeResult, recognize_all

from listener.assist.understanding.home_file import HomeFile, HomeThing
from listener.errors import ConfigError, Unavailable

DOMAINS: Final = ("light", "switch", "cover", "scene", "climate")
"""Kinds of things, by their names in the templates."""

INTENTS: Final = (
    "HassTurnOn",
    "HassTurnOff",
    "HassLightSet",
    "HassSetPosition",
    "HassClimateSetTemperature",
    "HassGetCurrentTime",
    "HassGetCurrentDate",
    "HassStartTimer",
    "HassIncreaseTimer",
    "HassDecreaseTimer",
    "HassCancelTimer",
    "HassCancelAllTimers",
    "HassTimerStatus",
    "HassNevermind",
)
"""Intents that can be carried out."""

NUMBER_RANGES: Final = {
    "brightness": (0, 100),
    "position": (0, 100),
    "temperature": (5, 90),  # degrees of either scale
    "timer_hours": (1, 24),
    "timer_minutes": (1, 90),
    "timer_seconds": (1, 90),
}
"""Lists of numbers, with the range that the grammar has."""
_TEXT_LISTS: Final = ("cover_classes", "brightness_level", "timer_half")
_NAME_LISTS: Final = ("name", "area")
# Timers are of a speaker here, not of an area, and have one start.
# Three units in one sentence multiply the grammar.
_LEFT_OUT: Final = ("start_", "area_", "command_", "name_", "minutes_seconds", "hours_seconds")


@dataclass(frozen=True, slots=True)
class HomeIntent:
    """Meaning of a sentence.

    Attributes:
        name: one of ``INTENTS``.
        slots: values by their names in the templates: ``name``, ``area``, ``domain``,
            ``device_class``, ``brightness``, ``minutes`` and so on.
    """

    name: str
    slots: Mapping[str, str | float] = field(default_factory=dict)


class HomeSentences:
    """Templates and names of one home.

    Args:
        home: its things.

    Raises:
        Unavailable: the package with the templates is not installed.
        ConfigError: it does not have the home's language.
    """

    def __init__(self, home: HomeFile) -> None:
        self.home = home
        self.intents = Intents.from_dict(_supported(_load(home.language)))
        self._slots: dict[str, SlotList] = {
            "name": TextSlotList(
                "name",
                [
                    TextSlotValue(TextChunk(name), thing.name, context={"domain": thing.domain})
                    for thing in home.things
                    for name in thing.names
                ],
            ),
            "area": TextSlotList(
                "area",
                [
                    TextSlotValue(TextChunk(name), area.name)
                    for area in home.areas
                    for name in (area.name, *area.aliases)
                ],
            ),
        }

    def match(self, text: str, area: str | None) -> HomeIntent | None:
        """Return what a sentence means, or None where it is not one of the home's.

        Args:
            text: words without the wake word; capitals and punctuation do not matter.
            area: name of the area of the speaker; None where it has none.
        """
        context = {"area": area} if area is not None else {}
        results = recognize_all(
            text,
            self.intents,
            slot_lists=self._slots,
            intent_context=context,
            language=self.home.language,
        )
        best = max(results, key=_literalness, default=None)
        if best is None:
            return None
        slots: dict[str, str | float] = {
            name: entity.value for name, entity in best.entities.items()
        }
        return HomeIntent(best.intent.name, slots)

    def templates(self) -> Iterator[tuple[IntentData, Sentence]]:
        """Yield every template with the data that it belongs to."""
        for intent in self.intents.intents.values():
            for data in intent.data:
                for sentence in data.sentences:
                    yield data, sentence

    def things_for(self, data: IntentData) -> list[HomeThing]:
        """Return the things that ``{name}`` stands for in a template.

        Args:
            data: that of the template, which may require domains.
        """
        domains = data.requires_context.get("domain", DOMAINS)
        wanted = (domains,) if isinstance(domains, str) else tuple(domains)
        return [thing for thing in self.home.things if thing.domain in wanted]


def _literalness(result: RecognizeResult) -> tuple[int, int]:
    # A name says more than an area, and words that are in the template more than a slot.
    return ("name" in result.entities, result.text_chunks_matched)


def _load(language: str) -> dict[str, Any]:
    """Read the templates of a language.

    The package's data are read without importing it.
    """
    spec = importlib.util.find_spec("home_assistant_intents")
    if spec is None or spec.origin is None:
        raise Unavailable(
            "the package home-assistant-intents is not installed",
            "install the extra: pip install 'earmark[assist]'",
        )
    path = Path(spec.origin).parent / "data" / f"{language}.json"
    try:
        data: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"home-assistant-intents has no sentences in the language {language}",
            'set language to one of its languages, such as "en"',
        ) from error
    return data


def _supported(data: dict[str, Any]) -> dict[str, Any]:
    """Return the templates of the intents, lists and domains that are supported."""
    known = {*NUMBER_RANGES, *_TEXT_LISTS, *_NAME_LISTS}
    lists = {name: body for name, body in data["lists"].items() if name in known}
    intents: dict[str, Any] = {}
    for name in INTENTS:
        groups = []
        for group in data["intents"].get(name, {"data": []})["data"]:
            combination = group.get("metadata", {}).get("slot_combination", "")
            needed = group.get("requires_context", {}).get("domain", DOMAINS)
            domain = group.get("slots", {}).get("domain", "light")
            if (
                ("timer" in name.lower() and any(part in combination for part in _LEFT_OUT))
                or not set(DOMAINS) & set([needed] if isinstance(needed, str) else needed)
                or domain not in DOMAINS
            ):
                continue
            sentences = [text for text in group["sentences"] if _lists_of(text) <= known]
            if sentences:
                groups.append({**group, "sentences": sentences})
        if groups:
            intents[name] = {"data": groups}
    return {
        "language": data["language"],
        "intents": intents,
        "lists": lists,
        "expansion_rules": data["expansion_rules"],
        "skip_words": data.get("skip_words", []),
    }


def _lists_of(template: str) -> set[str]:
    return {part.partition("}")[0].partition(":")[0] for part in template.split("{")[1:]}
