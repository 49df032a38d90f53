"""Comparison of two stored results by the paired tests of one evaluation. Pure.

The tests pair each labelled word, and each false wake, of the two results. They need the same
items, played in the same way, so a difference in either is refused with its reason.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from listener.errors import ConfigError, UsageError
from listener.evaluate.metrics.results import (
    FORMAT,
    Comparison,
    DetectionEvent,
    EventKind,
    Result,
    WordResult,
)
from listener.evaluate.metrics.statistics import Outcomes, compare_engines
from listener.evaluate.plan import EngineSettings
from listener.quantities import quantity

_PLAYED: Final = {
    "hit_tail_s": "another time after a word in which a wake is a hit (hit_tail_s)",
    "channel": "another channel of the files (channel)",
}
"""Keys of the plan that decide which sound is played and what counts."""


def read_result(data: bytes, source: str) -> Result:
    """Decode a ``result.json``.

    Args:
        data: its bytes.
        source: name of the file for errors.

    Raises:
        ConfigError: it is not a result of this format, or a later version wrote it.
    """
    try:
        head = msgspec.json.decode(data, type=_FormatOnly)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{source} is not the result of an evaluation: {error}") from error
    if head.format != FORMAT:
        raise ConfigError(f"{source} has the format {head.format!r}, not {FORMAT!r}")
    try:
        return msgspec.json.decode(data, type=Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"{source} cannot be read: {error}",
            "if a later version of Earmark wrote it, use that version",
        ) from error


def compare_results(
    first: Result, second: Result, names: tuple[str, str]
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Compare two results on the same items, word by word and condition by condition.

    Results of the same engine are compared if both have one; else each engine of the first with
    each of the second.

    Args:
        first: a result.
        second: another one.
        names: names of the two, which precede the names of the engines.

    Returns:
        The comparisons, and notes that a reader must know.

    Raises:
        UsageError: the two are not of the same items, played in the same way.
    """
    _check_same_items(first, second, names)
    pairs = [
        (one, other)
        for one in first.words
        for other in second.words
        if (one.said or one.word, one.condition) == (other.said or other.word, other.condition)
    ]
    same = [(one, other) for one, other in pairs if one.engine == other.engine]
    if not pairs:
        raise UsageError(
            f"{names[0]} and {names[1]} have no word and condition in common",
            "evaluate the same word, under conditions of the same names",
        )
    comparisons = []
    for one, other in same or pairs:
        _check_same_exposure(one, other, names)
        comparisons.append(
            compare_engines(
                one.said or one.word,
                one.condition,
                (f"{names[0]}: {one.engine}", f"{names[1]}: {other.engine}"),
                (_outcomes(one, names[0]), _outcomes(other, names[1])),
                (_first_play(one.events), _first_play(other.events)),
                same_s=max(_refractory_s(first, one), _refractory_s(second, other)),
            )
        )
    return tuple(comparisons), tuple(_notes(first, second))


class _FormatOnly(msgspec.Struct, frozen=True):
    format: str


def _check_same_items(first: Result, second: Result, names: tuple[str, str]) -> None:
    for result, name in zip((first, second), names, strict=True):
        if "engine" not in result.plan:
            raise UsageError(
                f"{name} is a survey: its hours cannot be played again, so nothing pairs",
                "compare the intervals of its rates, or evaluate recordings",
            )
    corpora = first.hashes.get("corpus"), second.hashes.get("corpus")
    if corpora[0] != corpora[1]:
        raise UsageError(
            f"{names[0]} and {names[1]} are of different items: their corpus hashes are"
            f" {_short(corpora[0])} and {_short(corpora[1])}",
            "evaluate both on the same files with the same labels",
        )
    for key, difference in _PLAYED.items():
        if first.plan.get(key) != second.plan.get(key):
            raise UsageError(
                f"{names[1]} was evaluated with {difference}:"
                f" {second.plan.get(key)} and not {first.plan.get(key)}",
                "evaluate both with the same plan",
            )
    if _stream(first) != _stream(second):
        raise UsageError(
            f"{names[1]} was played in another way: one of the two as one stream, or with another"
            " pause or seed",
            "evaluate both with the same --stream and --seed",
        )


def _check_same_exposure(one: WordResult, other: WordResult, names: tuple[str, str]) -> None:
    if (one.items, one.hours, one.words_said) != (other.items, other.hours, other.words_said):
        raise UsageError(
            f"{names[0]} has {quantity(one.items, 'item')}, {one.hours:.3f} h and"
            f" {quantity(one.words_said, 'word')} of"
            f" {one.said or one.word}, {one.condition}; {names[1]} has {other.items},"
            f" {other.hours:.3f} h and {other.words_said}",
            "evaluate again the one that lists missing items",
        )


def _conditions(result: Result) -> dict[str, Any]:
    conditions: Any = result.plan.get("condition", ())
    return {each["name"]: each for each in conditions}


def _stream(result: Result) -> tuple[object, ...]:
    stream = result.plan.get("stream", False)
    return (stream, result.plan.get("stream_pause_s"), result.plan.get("seed")) if stream else ()


def _notes(first: Result, second: Result) -> Iterable[str]:
    mixed = [name for name, each in _conditions(first).items() if each.get("noise")]
    mixed += [name for name, each in _conditions(first).items() if each.get("room")]
    sounds = [
        {name: value for name, value in result.hashes.items() if name.startswith("sound ")}
        for result in (first, second)
    ]
    seeds = first.plan.get("seed"), second.plan.get("seed")
    if mixed and (sounds[0] != sounds[1] or seeds[0] != seeds[1]):
        yield (
            f"the noise or the rooms of {', '.join(dict.fromkeys(mixed))} differ between the two:"
            " words are paired, their sound is not the same"
        )
    if first.hashes.get("code") != second.hashes.get("code"):
        versions = [result.versions.get("earmark", "unknown") for result in (first, second)]
        yield (
            f"the two were evaluated by different code of Earmark ({versions[0]} and {versions[1]})"
        )
    if first.missing or second.missing:
        yield "items are missing from both results: see their lists"


def _outcomes(word: WordResult, name: str) -> Outcomes:
    """Return the outcome of each labelled word in the first play.

    A result of an earlier version has no outcomes; its events pair where each item has one word.
    """
    if word.outcomes or not word.words_said:
        return {(each.item, each.index): each.woke for each in word.outcomes}
    found: dict[tuple[str, int], bool] = {}
    for event in _first_play(word.events):
        if event.kind in {EventKind.HIT, EventKind.MISS}:
            if (event.item, 0) in found:
                raise UsageError(
                    f"{name} was written by an earlier version, and {event.item} has several words,"
                    " so its words cannot be paired",
                    "evaluate it again; cached scores are used",
                )
            found[event.item, 0] = event.kind is EventKind.HIT
    return found


def _first_play(events: Iterable[DetectionEvent]) -> list[DetectionEvent]:
    return [event for event in events if event.play == 0]


def _refractory_s(result: Result, word: WordResult) -> float:
    engines: Any = result.plan.get("engine", ())
    settings: Mapping[str, Any] = next((e for e in engines if e["name"] == word.engine), {})
    return float(settings.get("refractory_s", EngineSettings().refractory_s))


def _short(value: str | None) -> str:
    return f"{value[:12]}…" if value else "unknown"
