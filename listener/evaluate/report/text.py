"""Text of a result: definitions, warnings, rates with intervals, and the printed summary. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from markupsafe import Markup

from listener.evaluate.metrics.intervals import CONFIDENCE, FEWEST_GROUPS, Rate
from listener.evaluate.metrics.results import (
    Comparison,
    Cost,
    EventKind,
    Hours,
    Result,
    SkippedItem,
    WordResult,
)
from listener.evaluate.plan import EvaluationPlan
from listener.quantities import quantity

CORPUS_NOTE: Final = "corpus: "
"""Start of the warnings about what is left out of the corpus, or counted differently."""

_MOST_DECIMALS: Final = 6
_PERIODS: Final = ((1.0, "an hour"), (24.0, "a day"), (168.0, "a week"), (720.0, "a month"))


def list_definitions(plan: EvaluationPlan) -> dict[str, str]:
    """Return the definitions of the terms and of the intervals under this plan."""
    level = f"{CONFIDENCE:.0%}"
    return {
        "wake": "the first step at or above the threshold, for the patience, at least one"
        " refractory after the last wake",
        "hit": "a wake whose step ends after the labelled word begins, and at most"
        f" {plan.hit_tail_s:g} s after it ends; the earliest, one for each word; anywhere in the"
        " item if the time of the word is not labelled",
        "miss": "a labelled word without a hit",
        "false wake": "every wake that is not a hit",
        "near miss": "a run of scores that did not wake, outside every window",
        "hour": "an hour of audio outside the windows of labelled words; an item that is played"
        " several times counts once",
        "latency": "from the end of the word to the end of the step that woke",
        "activation": "time that the scores stayed at or above the threshold around a wake",
        "repeatability": "the number of plays, each from another phase of a step, in which a word"
        " or a false wake fired",
        "miss rate": f"misses per labelled word, mean over plays, with Wilson's {level} interval",
        "false wakes per hour": "mean over plays, with the exact Poisson"
        f" {level} interval (Garwood)",
        "by speaker, by recording": f"the same rates with a {level} bootstrap over whole speakers"
        f" or recordings, if there are at least {FEWEST_GROUPS}: wider if events cluster",
        "claim": f"fewer than this many false wakes per hour: supported if the one-sided {level}"
        " upper bound is below",
        "detection cost": "P(miss) + beta P(false wake in a second), with beta = cost of a false"
        " wake x (1 - prior) / (cost of a miss x prior); 1 is that of a detector that never wakes;"
        f" {level} interval of a sum of independent estimates (Zou and Donner); the least cost is"
        " that of a threshold selected on these recordings",
        "comparison": "on the first play; misses by McNemar's exact test, false wakes of only one"
        " of the two engines by the binomial test",
    }


def list_cautions(words: Sequence[WordResult], missing: Sequence[SkippedItem]) -> tuple[str, ...]:
    """Return the warnings that a reader must know before quoting a rate."""
    cautions: list[str] = []
    if missing:
        items = "item is" if len(missing) == 1 else "items are"
        cautions.append(f"{len(missing)} {items} missing from these results: see the list")
    for word in words:
        name = f"{word.engine}, {word.word}, {word.condition}"
        if word.hours <= 0:
            cautions.append(f"{name}: no audio without the word, so there is no false-wake rate")
        if not word.words_said:
            cautions.append(f"{name}: the word is not in the corpus, so there is no miss rate")
        if word.target is not None:
            cautions.append(
                f"{name}: the threshold was chosen on these recordings; confirm it on others"
            )
            if not word.target.carried:
                cautions.append(_unsupported_claim(name, word))
        if word.clipped_samples:
            cautions.append(
                f"{name}: {quantity(word.clipped_samples, 'sample')} exceeded the range of int16"
                " after mixing"
            )
        spoken = sum(
            event.kind is EventKind.FALSE_WAKE
            and word.said.replace("-", " ").casefold() in (event.transcript or "").casefold()
            for event in word.events
        )
        if spoken:
            cautions.append(
                f"{name}: the transcript around {spoken} of its false wakes contains the word"
            )
    return tuple(cautions)


def list_figures(word: WordResult) -> list[tuple[str, str]]:
    """Return further figures of a result as pairs of name and text."""
    figures = [("near misses", f"{word.near_misses:,}")]
    if word.latency_s:
        shown = zip(("median", "90 %", "95 %"), word.latency_s, strict=False)
        latency = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in shown)
        figures.append(("latency", latency))
    if word.activation_s:
        shown = zip(("median", "90 %", "longest"), word.activation_s, strict=False)
        activation = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in shown)
        figures.append(("activation of false wakes", activation))
    if word.misses_by_speaker:
        figures.append(
            ("misses, bootstrap by speaker", format_rate(word.misses_by_speaker, 100, " %"))
        )
    if word.false_wakes_by_recording:
        rate = format_rate(word.false_wakes_by_recording, 1, " per hour")
        figures.append(("false wakes, bootstrap by recording", rate))
    return figures


def percent(rate: Rate) -> str:
    """Format a rate of misses with its interval."""
    return "no labelled word" if rate.value is None else format_rate(rate, 100, " %")


def per_hour(rate: Rate) -> str:
    """Format a rate of false wakes with its interval."""
    return "no hours" if rate.value is None else format_rate(rate, 1, " per hour")


def format_per_hour(value: float) -> str:
    """Format a rate that was stated: ``0.5 per hour``, or ``one a day``.

    Args:
        value: events per hour, above 0.
    """
    for hours, period in _PERIODS:
        if math.isclose(value * hours, 1, rel_tol=1e-4):
            return f"one {period}"
    return f"{value:.3g} per hour"


def format_cost(cost: Cost) -> str:
    """Format a detection cost with its interval."""
    return " ".join(_value(cost, 1, ""))


def format_rate_html(rate: Rate | Cost, factor: float, unit: str) -> Markup:
    """Format a rate in bold with its interval, as markup.

    Args:
        rate: any rate; ``none`` without a value.
        factor: factor of all numbers: 100 for a percentage.
        unit: unit after the value, with a leading space if needed.
    """
    value, interval = _value(rate, factor, unit)
    return Markup("<b>{}</b> {}").format(value, interval)


def format_rate(rate: Rate | Cost, factor: float, unit: str) -> str:
    """Format a rate with its interval as text; see ``format_rate_html``."""
    return " ".join(part for part in _value(rate, factor, unit) if part)


def summary_lines(result: Result) -> Iterator[str]:
    """Yield the lines of the summary as text."""
    for word in result.words:
        yield from _word(word)
    for comparison in result.comparisons:
        yield from comparison_lines(comparison)
    for speed in result.speeds:
        yield (
            f"{speed.engine}: real-time factor {speed.real_time_factor:.3g},"
            f" {speed.cpu_share:.2%} of a core, on {speed.machine}"
        )
    for skipped in result.missing:
        yield f"missing: {skipped.item}: {skipped.why}"
    for warning in result.warnings:
        yield f"note: {warning}"


def comparison_lines(pair: Comparison) -> Iterator[str]:
    """Yield the lines of a comparison as text."""
    yield f"{pair.first} compared with {pair.second}, {pair.word}, {pair.condition}"
    yield (
        f"  misses       first only {pair.only_first_missed},"
        f" second only {pair.only_second_missed}, both {pair.both_missed} of {pair.words_said}:"
        f" p = {pair.misses_p:.3g}"
    )
    yield (
        f"  false wakes  first only {pair.only_first_false}, second only {pair.only_second_false},"
        f" both {pair.both_false}: p = {pair.false_wakes_p:.3g}"
    )
    high = "unbounded" if pair.ratio_high is None else f"{pair.ratio_high:.3g}"
    yield f"               ratio of those of only one: {pair.ratio_low:.3g} to {high}"


def summary_objects(result: Result) -> Iterator[bytes]:
    """Yield the summary as JSON objects: words, comparisons and missing items."""
    omitted = {"events", "excerpts", "curve", "repeatability", "histogram", "outcomes"}
    omitted |= {"speakers", "groups"}
    for word in result.words:
        figures: dict[str, Any] = msgspec.to_builtins(word)
        yield msgspec.json.encode({k: v for k, v in figures.items() if k not in omitted})
    for comparison in result.comparisons:
        yield msgspec.json.encode({"comparison": comparison})
    for speed in result.speeds:
        yield msgspec.json.encode({"speed": speed})
    for skipped in result.missing:
        yield msgspec.json.encode({"missing": skipped})


def _unsupported_claim(name: str, word: WordResult) -> str:
    target = word.target
    if target is None or target.threshold is None or target.still_needed_h is None:
        return f"{name}: no threshold has so few false wakes on these recordings"
    return (
        f"{name}: {word.hours:.2f} h do not support a claim of fewer than {target.per_hour:.3g}"
        f" false wakes per hour; it needs {target.still_needed_h:.1f} h more without a false wake"
    )


def _word(word: WordResult) -> Iterator[str]:
    is_named = word.engine.endswith(word.word)
    name = word.engine if is_named else f"{word.engine}: {word.word}"
    yield f"{name}, {word.condition}, threshold {word.threshold:g} ({word.threshold_from})"
    if word.target is not None and word.target.threshold is not None:
        low, high = word.target.low, word.target.high
        yield (
            f"  threshold for {format_per_hour(word.target.per_hour)}: {word.target.threshold:g},"
            f" interval {_or(low, 'unknown')} to {_or(high, 'unknown')}"
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
        yield f"  fewer than {format_per_hour(claim.claim_per_hour)}: {_claim(claim)}"
    for cost in word.costs:
        yield (
            f"  cost         {format_cost(cost.actual)} at prior {cost.prior:g};"
            f" least {format_cost(cost.minimum)} at threshold {cost.minimum.threshold:g}"
        )


def _claim(claim: Hours) -> str:
    if claim.carried:
        return "supported"
    if claim.still_needed_h is None:
        return "these recordings contradict it"
    return f"not supported: {claim.still_needed_h:.1f} h more without a false wake needed"


def _or(value: float | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:g}"


def _shown(rate: Rate, factor: float, unit: str) -> str:
    return "no rate" if rate.value is None else format_rate(rate, factor, unit)


def _value(rate: Rate | Cost, factor: float, unit: str) -> tuple[str, str]:
    """Return a value with its unit, and its interval in brackets."""
    if rate.value is None:
        return "none", ""
    if rate.low is None or rate.high is None:
        return f"{_digits(rate.value * factor)}{unit}", ""
    value, low, high = (number * factor for number in (rate.value, rate.low, rate.high))
    decimals = _decimals(high - low)
    shown = [f"{number:,.{decimals}f}" for number in (value, low, high)]
    return f"{shown[0]}{unit}", f"({shown[1]} to {shown[2]})"


def _decimals(width: float) -> int:
    """Return the decimals of a value and of both ends of its interval.

    An interval of this width is written with two significant digits, and its ends and the value
    with as many decimals: more would claim a precision that the interval denies.
    """
    if width <= 0:
        return 1
    return min(max(0, 1 - math.floor(math.log10(width))), _MOST_DECIMALS)


def _digits(value: float) -> str:
    """Format with three significant digits, without an exponent."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - no exponents
