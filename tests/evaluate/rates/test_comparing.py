"""Two engines, compared in pairs."""

import pytest

from listener.evaluate.rates.comparing import compare_engines
from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.intervals import mcnemar


def false_wake(
    item: str, at_s: float, play: int = 0, kind: EventKind = EventKind.FALSE_WAKE
) -> DetectionEvent:
    return DetectionEvent(kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08)


def outcomes(hits: str) -> dict[tuple[str, int], bool]:
    """One character a word: + was heard, - was missed."""
    return {(f"item {number}", 0): hit == "+" for number, hit in enumerate(hits)}


def test_words_are_compared_one_by_one() -> None:
    first = outcomes("++--+-")
    second = outcomes("+-+---")

    found = compare_engines("alexa", "clean", ("a", "b"), (first, second), ([], []), same_s=2.0)

    assert (found.words_said, found.both_missed) == (6, 2)
    assert (found.only_first_missed, found.only_second_missed) == (1, 2)
    assert found.misses_p == mcnemar(1, 2)


def test_words_that_only_one_heard_are_no_pairs() -> None:
    first = outcomes("++") | {("other", 0): False}

    found = compare_engines(
        "alexa", "clean", ("a", "b"), (first, outcomes("++")), ([], []), same_s=2.0
    )

    assert (found.words_said, found.only_first_missed) == (2, 0)


def test_false_wakes_close_together_are_one() -> None:
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


def test_only_the_first_play_and_only_false_wakes_count() -> None:
    first = [false_wake("x", 1.0, play=1), false_wake("x", 1.0, kind=EventKind.HIT)]

    found = compare_engines("alexa", "clean", ("a", "b"), ({}, {}), (first, []), same_s=2.0)

    assert (found.both_false, found.only_first_false) == (0, 0)
