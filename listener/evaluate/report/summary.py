"""What ``evaluate`` says at its end: a paragraph for each word, or an object a line."""

from collections.abc import Iterator
from typing import Any

import msgspec

from listener.evaluate.rates.intervals import Rate
from listener.evaluate.rates.result import Comparison, Hours, Result, WordResult


def summary_lines(result: Result) -> Iterator[str]:
    """Give the lines for people."""
    for word in result.words:
        yield from _word(word)
    for comparison in result.comparisons:
        yield from _comparison(comparison)
    for trouble in result.missing:
        yield f"missing: {trouble.item}: {trouble.why}"
    for warning in result.warnings:
        yield f"note: {warning}"


def summary_objects(result: Result) -> Iterator[bytes]:
    """Give the lines for programs: figures of each word, comparisons, and what is missing."""
    left_out = {"events", "excerpts", "curve", "repeatability", "histogram", "speakers", "groups"}
    for word in result.words:
        figures: dict[str, Any] = msgspec.to_builtins(word)
        yield msgspec.json.encode({k: v for k, v in figures.items() if k not in left_out})
    for comparison in result.comparisons:
        yield msgspec.json.encode({"comparison": comparison})
    for trouble in result.missing:
        yield msgspec.json.encode({"missing": trouble})


def _word(word: WordResult) -> Iterator[str]:
    name = word.word if word.engine == word.word else f"{word.engine}: {word.word}"
    yield f"{name}, {word.condition}, threshold {word.threshold:g} ({word.threshold_from})"
    if word.target is not None and word.target.threshold is not None:
        low, high = word.target.low, word.target.high
        yield (
            f"  threshold for {word.target.per_hour:g} per hour: {word.target.threshold:g},"
            f" from {_or(low, 'none')} to {_or(high, 'none that these hours can name')}"
        )
    missed, false = word.misses, word.false_wakes
    yield f"  misses       {missed.count:g} of {missed.exposure:g}: {_shown(missed, 100, ' %')}"
    per_hour = _shown(false, 1, " per hour")
    yield f"  false wakes  {false.count:g} in {false.exposure:.2f} h: {per_hour}"
    if word.false_wakes_by_recording is not None:
        yield f"               by recording {_shown(word.false_wakes_by_recording, 1, ' per hour')}"
    if word.false_wakes_per_10000_words is not None:
        per_words = word.false_wakes_per_10000_words
        yield f"               {_shown(per_words, 1, ' per 10,000 words')}"
    yield f"  near misses  {word.near_misses}"
    for claim in word.claims:
        yield f"  fewer than {claim.claim_per_hour:g} per hour: {_claim(claim)}"


def _claim(claim: Hours) -> str:
    if claim.carried:
        return "these hours carry it"
    if claim.still_needed_h is None:
        return "these sounds speak against it"
    return f"not carried; {claim.still_needed_h:.1f} h more without a false wake would"


def _comparison(pair: Comparison) -> Iterator[str]:
    yield f"{pair.first} against {pair.second}, {pair.word}, {pair.condition}"
    yield (
        f"  missed by the first alone {pair.only_first_missed}, by the second alone"
        f" {pair.only_second_missed}, by both {pair.both_missed} of {pair.words_said}:"
        f" p = {pair.misses_p:.3g}"
    )
    yield (
        f"  false wakes of the first alone {pair.only_first_false}, of the second alone"
        f" {pair.only_second_false}, of both {pair.both_false}: p = {pair.false_wakes_p:.3g}"
    )


def _shown(rate: Rate, factor: float, unit: str) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return "nothing is known"
    return f"{rate.value * factor:.3g}{unit} ({rate.low * factor:.3g} to {rate.high * factor:.3g})"


def _or(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:g}"
