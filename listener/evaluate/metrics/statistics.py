"""Statistics of counts: curves, thresholds for a rate, claims, comparisons, repeatability. Pure.

Two engines are compared by paired tests on the same items, because overlapping intervals do not
show whether they differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from listener.evaluate.metrics.counting import GRID, CurveCounts
from listener.evaluate.metrics.intervals import (
    CONFIDENCE,
    Rate,
    hours_needed,
    mcnemar,
    poisson,
    rate_ratio,
    wilson,
)
from listener.evaluate.metrics.results import (
    Comparison,
    DetectionEvent,
    EventKind,
    Hours,
    Point,
    Repeatability,
    Target,
)

SAME_S: Final = 0.5
"""Maximum time between false wakes of several plays that count as the same."""

_REGULAR: Final = frozenset(round(step / 20, 2) for step in range(1, 20))
"""Thresholds that a curve includes even where the counts do not change."""

Outcomes = Mapping[tuple[str, int], bool]
"""Whether each labelled word, by item and index, woke in the first play."""
Hits = dict[tuple[str, int], tuple[float, list[bool]]]
"""Begin of each labelled word's window, by item and index, and whether each play woke."""


def curve_points(counts: CurveCounts, plays: int, spoken: int, hours: float) -> tuple[Point, ...]:
    """Return the points of the curve at which it changes, and one every 0.05.

    Args:
        counts: sum of all plays.
        plays: plays of each item.
        spoken: number of labelled words.
        hours: hours in which a wake would be false.
    """
    points: list[Point] = []
    before: tuple[int, int] | None = None
    for threshold, missed, false in zip(
        GRID, counts.misses.tolist(), counts.false_wakes.tolist(), strict=True
    ):
        if (missed, false) != before or threshold in _REGULAR:
            points.append(
                Point(
                    threshold=threshold,
                    misses=wilson(missed / plays, spoken),
                    false_wakes=poisson(false / plays, hours),
                )
            )
        before = missed, false
    return tuple(points)


def find_target(counts: CurveCounts, plays: int, hours: float, per_hour: float) -> Target:
    """Find the threshold for a rate of false wakes.

    Args:
        counts: sum of all plays.
        plays: plays of each item.
        hours: hours in which a wake would be false.
        per_hour: requested rate, above 0.
    """
    rates = [poisson(false / plays, hours) for false in counts.false_wakes.tolist()]
    lowest = _first(rate.value is not None and rate.value <= per_hour for rate in rates)
    needed_h = None if lowest is None else hours_needed(rates[lowest].count, per_hour)
    return Target(
        per_hour=per_hour,
        threshold=_threshold(lowest),
        low=_threshold(_first(rate.low is not None and rate.low <= per_hour for rate in rates)),
        high=_threshold(_first(rate.high is not None and rate.high <= per_hour for rate in rates)),
        carried=needed_h is not None and needed_h <= hours,
        still_needed_h=None if needed_h is None else max(needed_h - hours, 0.0),
    )


def check_claims(false_wakes: Rate, per_hour: Sequence[float]) -> tuple[Hours, ...]:
    """Check claims of fewer false wakes per hour.

    Args:
        false_wakes: measured rate per hour.
        per_hour: claimed upper bounds, each above 0.
    """
    claims = []
    for claim in per_hour:
        needed_h = hours_needed(false_wakes.count, claim, CONFIDENCE)
        contradicted = false_wakes.low is not None and false_wakes.low > claim
        claims.append(
            Hours(
                claim_per_hour=claim,
                carried=needed_h <= false_wakes.exposure,
                still_needed_h=None if contradicted else max(needed_h - false_wakes.exposure, 0.0),
            )
        )
    return tuple(claims)


def _first(conditions: Iterable[bool]) -> int | None:
    return next((index for index, holds in enumerate(conditions) if holds), None)


def _threshold(index: int | None) -> float | None:
    return None if index is None else GRID[index]


def compare_engines(  # noqa: PLR0913 - one pair of values for each quantity compared
    word: str,
    condition: str,
    names: tuple[str, str],
    outcomes: tuple[Outcomes, Outcomes],
    events: tuple[Sequence[DetectionEvent], Sequence[DetectionEvent]],
    *,
    same_s: float,
) -> Comparison:
    """Compare two engines on the same items.

    Args:
        word: label of the word.
        condition: name of the condition.
        names: names of the engines.
        outcomes: outcomes of each engine; words that only one has are ignored.
        events: events of each engine; the false wakes of the first play are compared.
        same_s: maximum time between false wakes of the two that count as the same.
    """
    common = sorted(outcomes[0].keys() & outcomes[1].keys())
    pairs = [(outcomes[0][key], outcomes[1][key]) for key in common]
    only_first_missed = sum(second and not first for first, second in pairs)
    only_second_missed = sum(first and not second for first, second in pairs)
    false = tuple(_false_wakes(each) for each in events)
    shared = _count_shared(false[0], false[1], same_s)
    only_first, only_second = len(false[0]) - shared, len(false[1]) - shared
    low, high, p = rate_ratio(only_first, only_second)
    return Comparison(
        word=word,
        condition=condition,
        first=names[0],
        second=names[1],
        words_said=len(pairs),
        both_missed=sum(not first and not second for first, second in pairs),
        only_first_missed=only_first_missed,
        only_second_missed=only_second_missed,
        misses_p=mcnemar(only_first_missed, only_second_missed),
        both_false=shared,
        only_first_false=only_first,
        only_second_false=only_second,
        false_wakes_p=p,
        ratio_low=low,
        ratio_high=high,
    )


def _false_wakes(events: Sequence[DetectionEvent]) -> list[tuple[str, float]]:
    """Return item and time of the false wakes of the first play, sorted."""
    return sorted(
        (event.item, event.at_s)
        for event in events
        if event.kind is EventKind.FALSE_WAKE and event.play == 0
    )


def _count_shared(
    first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]], same_s: float
) -> int:
    """Return the number of one-to-one matches between events that are close."""
    shared = at = 0
    for item, at_s in first:
        while at < len(second) and (
            second[at][0] < item or (second[at][0] == item and second[at][1] < at_s - same_s)
        ):
            at += 1
        if at < len(second) and second[at][0] == item and second[at][1] <= at_s + same_s:
            shared += 1
            at += 1
    return shared


def measure_repeatability(
    hits: Hits, events: Sequence[DetectionEvent], plays: int
) -> tuple[Repeatability, ...]:
    """Return the number of plays that woke, for each labelled word and each false wake.

    Args:
        hits: outcomes of the labelled words.
        events: events of all plays; only false wakes are used.
        plays: plays of each item.
    """
    words = [
        Repeatability(kind=EventKind.HIT, item=item, at_s=at_s, fired=sum(woke), plays=plays)
        for (item, _), (at_s, woke) in hits.items()
    ]
    false = [event for event in events if event.kind is EventKind.FALSE_WAKE]
    return (*words, *_group_false_wakes(false, plays))


def _group_false_wakes(events: Iterable[DetectionEvent], plays: int) -> list[Repeatability]:
    """Group the false wakes of several plays that are the same."""
    groups: list[Repeatability] = []
    fired: set[int] = set()
    at: tuple[str, float] | None = None
    for event in sorted(events, key=lambda event: (event.item, event.at_s, event.play)):
        if at is None or event.item != at[0] or event.at_s - at[1] > SAME_S:
            at, fired = (event.item, event.at_s), set()
            groups.append(
                Repeatability(
                    kind=EventKind.FALSE_WAKE,
                    item=event.item,
                    at_s=event.at_s,
                    fired=0,
                    plays=plays,
                )
            )
        fired.add(event.play)
        groups[-1] = Repeatability(
            kind=EventKind.FALSE_WAKE, item=at[0], at_s=at[1], fired=len(fired), plays=plays
        )
    return groups
