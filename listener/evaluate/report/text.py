"""What the numbers mean, and what a reader must know before quoting one: in words. Pure.

Rates and their intervals, written for people: on the page and beside its pictures. Pure.

What ``evaluate`` says at its end: a paragraph for each word, or an object a line.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from listener.evaluate.metrics.intervals import CONFIDENCE, FEWEST_GROUPS, Rate
from listener.evaluate.metrics.results import (
    Comparison,
    EventKind,
    Hours,
    Result,
    SkippedItem,
    WordResult,
)
from listener.evaluate.plan import EvaluationPlan


def list_definitions(plan: EvaluationPlan) -> dict[str, str]:
    """Say what a hit, a false wake, an hour and each interval are under this plan."""
    level = f"{CONFIDENCE:.0%}"
    return {
        "wake": "the first step at or above the threshold, for the patience, at least one"
        " refractory after the last wake",
        "hit": "a wake whose step ends after the labelled word begins, and at most"
        f" {plan.hit_tail_s:g} s after it ends; one for each word, the earliest; where nobody"
        " noted when the word is said, anywhere in its item",
        "miss": "a labelled word without a hit",
        "false wake": "every wake that is no hit",
        "near miss": "a run of scores that did not wake, outside every window",
        "hour": "an hour of sound outside the windows of labelled words, each item counted once"
        " however often it is played",
        "latency": "from the end of the word to the end of the step that woke",
        "activation": "how long scores stayed at or above the threshold around a wake",
        "repeatability": "in how many plays, each from another phase of a step, a word or a false"
        " wake fired",
        "miss rate": f"misses per labelled word, mean over plays, with Wilson's {level} interval",
        "false wakes per hour": "mean over plays, with the exact Poisson"
        f" {level} interval (Garwood)",
        "by speaker, by recording": f"the same rates with a {level} bootstrap over whole speakers"
        f" or recordings, from {FEWEST_GROUPS} of them on: wider where events cluster",
        "claim": f"fewer than so many false wakes per hour: carried where the one-sided {level}"
        " bound lies below",
        "comparison": "first play of each; misses by McNemar's exact test, false wakes that only"
        " one of the two has by the binomial test",
    }


def list_cautions(words: Sequence[WordResult], missing: Sequence[SkippedItem]) -> tuple[str, ...]:
    """Say what a reader must know before quoting a number."""
    found: list[str] = []
    if missing:
        things = "thing is" if len(missing) == 1 else "things are"
        found.append(f"{len(missing)} {things} missing from these figures: see the list")
    for word in words:
        name = f"{word.engine}, {word.word}, {word.condition}"
        if word.hours <= 0:
            found.append(f"{name}: no sound without the word, so nothing is known of false wakes")
        if not word.words_said:
            found.append(f"{name}: the word is never said, so nothing is known of misses")
        if word.target is not None:
            found.append(
                f"{name}: the threshold was chosen on these very sounds; confirm it on others"
            )
            if not word.target.carried:
                found.append(_unsupported_claim(name, word))
        if word.clipped_samples:
            found.append(f"{name}: mixing drove {word.clipped_samples} samples beyond int16")
        spoken = sum(
            event.kind is EventKind.FALSE_WAKE
            and word.said.replace("-", " ").casefold() in (event.transcript or "").casefold()
            for event in word.events
        )
        if spoken:
            found.append(
                f"{name}: the transcript around {spoken} of its false wakes holds the word itself"
            )
    return tuple(found)


def _unsupported_claim(name: str, word: WordResult) -> str:
    target = word.target
    if target is None or target.threshold is None or target.still_needed_h is None:
        return f"{name}: no threshold brings so few false wakes on these sounds"
    return (
        f"{name}: {word.hours:.2f} h cannot carry a claim of fewer than {target.per_hour:g} false"
        f" wakes per hour; {target.still_needed_h:.1f} h more without a false wake would"
    )


def list_figures(word: WordResult) -> list[tuple[str, str]]:
    """Return what is worth a line, with its name."""
    found = [("near misses", f"{word.near_misses:,}")]
    if word.latency_s:
        shown = zip(("median", "90 %", "95 %"), word.latency_s, strict=False)
        latency = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in shown)
        found.append(("from the end of the word to the wake", latency))
    if word.activation_s:
        shown = zip(("median", "90 %", "longest"), word.activation_s, strict=False)
        held = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in shown)
        found.append(("false wakes held the threshold for", held))
    if word.misses_by_speaker:
        found.append(("misses, speakers resampled", format_rate(word.misses_by_speaker, 100, " %")))
    if word.false_wakes_by_recording:
        rate = format_rate(word.false_wakes_by_recording, 1, " per hour")
        found.append(("false wakes, recordings resampled", rate))
    return found


def percent(rate: Rate) -> str:
    """Write a rate of misses with its interval."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "nothing to miss"
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})".replace("%", " %")


def per_hour(rate: Rate) -> str:
    """Write a rate of false wakes with its interval."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "no hours"
    return f"{rate.value:.3g} per hour ({rate.low:.2g} to {rate.high:.3g})"


def format_rate_html(rate: Rate, factor: float, unit: str) -> Markup:
    """Write a rate in bold, and its interval, as markup.

    Args:
        rate: any; without a value it is ``none``.
        factor: by which all its numbers are multiplied: 100 for a percentage.
        unit: stands behind the value, with the space that it wants.
    """
    value, interval = _value(rate, factor, unit)
    return Markup("<b>{}</b> {}").format(value, interval)


def format_rate(rate: Rate, factor: float, unit: str) -> str:
    """Write a rate and its interval as text; see ``format_rate_html``."""
    return " ".join(_value(rate, factor, unit))


def _value(rate: Rate, factor: float, unit: str) -> tuple[str, str]:
    if rate.value is None:
        return "none", ""
    if rate.low is None or rate.high is None:
        return f"{_digits(rate.value * factor)}{unit}", ""
    bounds = f"({_digits(rate.low * factor)} to {_digits(rate.high * factor)})"
    return f"{_digits(rate.value * factor)}{unit}", bounds


def _digits(value: float) -> str:
    """Write with as many digits as a rate deserves."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents


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
