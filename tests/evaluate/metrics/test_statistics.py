"""Thresholds, claims, comparisons and repeatability."""

import numpy as np
import pytest

from listener.evaluate.metrics.counting import GRID, CurveCounts
from listener.evaluate.metrics.intervals import hours_needed, mcnemar, poisson
from listener.evaluate.metrics.results import DetectionEvent, EventKind, Repeatability
from listener.evaluate.metrics.statistics import (
    check_claims,
    compare_engines,
    curve_points,
    find_target,
    measure_repeatability,
)


def falling(*steps: tuple[float, int]) -> CurveCounts:
    """False wakes that fall at each threshold to so many; misses that rise meanwhile."""
    grid = np.array(GRID)
    false = np.zeros(len(grid), np.int64)
    for threshold, count in steps:
        false[grid >= threshold] = count
    return CurveCounts((grid * 10).astype(np.int64), false)


def test_target_threshold_is_the_lowest_that_meets_the_rate() -> None:
    found = find_target(falling((0, 40), (0.3, 20), (0.6, 5), (0.9, 0)), 1, 40.0, 0.5)

    # 20 in 40 hours are 0.5 per hour; that fewer are meant is sure only from 5 on.
    assert found.threshold == 0.3
    assert found.low == 0.3
    assert found.high == 0.6
    assert not found.carried
    assert found.still_needed_h == pytest.approx(hours_needed(20, 0.5) - 40)


def test_claim_with_enough_hours_is_supported() -> None:
    found = find_target(falling((0, 40), (0.6, 1)), 1, 40.0, 0.5)

    assert (found.threshold, found.carried, found.still_needed_h) == (0.6, True, 0.0)


def test_interval_with_few_hours_has_no_upper_end() -> None:
    found = find_target(falling((0, 3), (0.6, 0)), 1, 1.0, 0.5)

    assert (found.threshold, found.high, found.carried) == (0.6, None, False)
    assert found.still_needed_h == pytest.approx(4.99, abs=0.01)


def test_target_that_no_threshold_meets_has_none() -> None:
    found = find_target(falling((0, 9)), 1, 1.0, 0.5)

    assert (found.threshold, found.low, found.still_needed_h) == (None, None, None)


def test_target_without_hours_has_no_threshold() -> None:
    assert find_target(falling((0, 0)), 1, 0.0, 0.5).threshold is None


def test_target_uses_mean_false_wakes_over_plays() -> None:
    assert find_target(falling((0, 80), (0.3, 40), (0.6, 0)), 2, 40.0, 0.5).threshold == 0.3


def test_claims_are_supported_undecided_or_contradicted() -> None:
    carried, lacking, contradicted = check_claims(poisson(1, 10.0), (1.0, 0.2, 0.001))

    assert (carried.carried, carried.still_needed_h) == (True, 0.0)
    assert not lacking.carried
    assert lacking.still_needed_h == pytest.approx(hours_needed(1, 0.2) - 10)
    assert (contradicted.carried, contradicted.still_needed_h) == (False, None)


def test_curve_has_points_at_changes_and_every_twentieth() -> None:
    curve = curve_points(falling((0, 40), (0.333, 20)), 2, 100, 10.0)

    found = {point.threshold: point for point in curve}
    assert found[0.333].false_wakes.count == 10
    assert found[0.3].false_wakes.value == 2.0
    assert found[0.5].misses.exposure == 100
    assert {round(step / 20, 2) for step in range(1, 20)} <= found.keys()
    assert len(curve) < 40


def false_wake(
    item: str, at_s: float, play: int = 0, kind: EventKind = EventKind.FALSE_WAKE
) -> DetectionEvent:
    return DetectionEvent(kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08)


def outcomes(hits: str) -> dict[tuple[str, int], bool]:
    """One character a word: + was heard, - was missed."""
    return {(f"item {number}", 0): hit == "+" for number, hit in enumerate(hits)}


def test_engines_are_compared_word_by_word() -> None:
    first = outcomes("++--+-")
    second = outcomes("+-+---")

    found = compare_engines("alexa", "clean", ("a", "b"), (first, second), ([], []), same_s=2.0)

    assert (found.words_said, found.both_missed) == (6, 2)
    assert (found.only_first_missed, found.only_second_missed) == (1, 2)
    assert found.misses_p == mcnemar(1, 2)


def test_words_of_only_one_engine_are_not_paired() -> None:
    first = outcomes("++") | {("other", 0): False}

    found = compare_engines(
        "alexa", "clean", ("a", "b"), (first, outcomes("++")), ([], []), same_s=2.0
    )

    assert (found.words_said, found.only_first_missed) == (2, 0)


def test_close_false_wakes_are_one_event() -> None:
    first = [false_wake("x", 1.0), false_wake("x", 9.0), false_wake("y", 1.0)]
    second = [false_wake("x", 2.5), false_wake("x", 30.0), false_wake("z", 1.0)]

    found = compare_engines("alexa", "clean", ("a", "b"), ({}, {}), (first, second), same_s=2.0)

    assert (found.both_false, found.only_first_false, found.only_second_false) == (1, 2, 2)
    assert found.false_wakes_p == pytest.approx(1.0)


def test_each_false_wake_is_paired_once() -> None:
    first = [false_wake("x", 1.0), false_wake("x", 2.0)]

    found = compare_engines(
        "alexa", "clean", ("a", "b"), ({}, {}), (first, [false_wake("x", 1.5)]), same_s=2.0
    )

    assert (found.both_false, found.only_first_false, found.only_second_false) == (1, 1, 0)


def test_comparison_uses_false_wakes_of_the_first_play_only() -> None:
    first = [false_wake("x", 1.0, play=1), false_wake("x", 1.0, kind=EventKind.HIT)]

    found = compare_engines("alexa", "clean", ("a", "b"), ({}, {}), (first, []), same_s=2.0)

    assert (found.both_false, found.only_first_false) == (0, 0)


def event(
    item: str, at_s: float, play: int, kind: EventKind = EventKind.FALSE_WAKE
) -> DetectionEvent:
    return DetectionEvent(kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08)


def told(found: tuple[Repeatability, ...]) -> list[tuple[str, str, float, int, int]]:
    return [(each.kind, each.item, each.at_s, each.fired, each.plays) for each in found]


def test_repeatability_counts_the_plays_with_a_wake() -> None:
    hits = {("a", 0): (1.5, [True, False, True]), ("a", 1): (4.0, [False] * 3)}

    assert told(measure_repeatability(hits, (), 3)) == [
        ("hit", "a", 1.5, 2, 3),
        ("hit", "a", 4.0, 0, 3),
    ]


def test_close_false_wakes_of_several_plays_are_grouped() -> None:
    events = [event("a", 30.0, 2), event("a", 7.4, 1), event("a", 7.0, 0)]

    assert told(measure_repeatability({}, events, 3)) == [
        ("false wake", "a", 7.0, 2, 3),
        ("false wake", "a", 30.0, 1, 3),
    ]


def test_false_wakes_of_one_play_at_one_time_count_once() -> None:
    events = [event("a", 7.0, 0), event("a", 7.3, 0)]

    assert told(measure_repeatability({}, events, 2)) == [("false wake", "a", 7.0, 1, 2)]


def test_false_wakes_of_different_items_are_not_grouped() -> None:
    events = [event("a", 7.0, 0), event("b", 7.0, 1)]

    assert [each[1] for each in told(measure_repeatability({}, events, 2))] == ["a", "b"]


def test_repeatability_uses_only_false_wakes() -> None:
    events = [event("a", 7.0, 0, kind) for kind in EventKind if kind is not EventKind.FALSE_WAKE]

    assert measure_repeatability({}, events, 2) == ()
