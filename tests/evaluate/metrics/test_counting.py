"""A whole track at once wakes where the device's trigger does, step by step.

The whole curve at once is what each of its thresholds gives alone.
"""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.evaluate.corpus.items import Item, Label
from listener.evaluate.metrics.counting import (
    GRID,
    Window,
    count_curve,
    count_wakes,
    false_hours,
    find_near_misses,
    find_wakes,
    hit_windows,
    reaches,
    zero_counts,
)
from listener.wakeword.detector import NearMiss, Rule, Trigger, Wake
from tests.evaluate.tracks import HERE, STEP, ends_of

LEVELS = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0]), max_size=60)
RULES = st.builds(
    Rule,
    threshold=st.sampled_from([0.2, 0.3, 0.5, 0.7]),
    patience_steps=st.integers(1, 4),
    refractory_samples=st.integers(0, 12 * STEP),
    near_miss_threshold=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
)


@given(LEVELS, RULES)
def test_wakes_and_near_misses_are_the_triggers(levels: list[float], rule: Rule) -> None:
    scores = np.array(levels, np.float32)
    ends = ends_of(len(scores))
    trigger = Trigger("alexa", rule)

    events = [
        trigger.push(score, int(end)) for score, end in zip(scores.tolist(), ends, strict=True)
    ]
    woken = find_wakes(ends, scores, rule)

    assert [int(ends[step]) for step in woken] == [
        event.end_sample for event in events if isinstance(event, Wake)
    ]
    assert [int(ends[step]) for step in find_near_misses(ends, scores, rule, woken)] == [
        event.end_sample for event in events if isinstance(event, NearMiss)
    ]


@given(st.floats(0.01, 0.99), st.floats(0, 1, width=32))
def test_score_comparison_equals_double_precision(threshold: float, score: float) -> None:
    for near in (np.float32(score), np.float32(threshold)):
        (reached,) = reaches(np.array([near], np.float32), threshold)

        assert reached == (float(near) >= threshold)


@given(LEVELS, RULES)
def test_wakes_do_not_increase_with_the_threshold(levels: list[float], rule: Rule) -> None:
    scores = np.array(levels, np.float32)
    ends = ends_of(len(scores))
    lower = Rule(0.15, rule.patience_steps, rule.refractory_samples)

    assert len(find_wakes(ends, scores, rule)) <= len(find_wakes(ends, scores, lower))


def test_second_wake_in_a_window_is_false() -> None:
    places = [Window(STEP, 4 * STEP, 3 * STEP), Window(10 * STEP, 12 * STEP, 11 * STEP)]

    counted = count_wakes(ends_of(20), np.array([0, 1, 3, 6, 11]), places)

    # Steps end at 1, 2, 4, 7 and 12 steps: before the first window, in it, in it again, between.
    assert counted.hits == ((0, 1), (1, 11))
    assert counted.false_wakes == (0, 3, 6)
    assert counted.misses == ()


def test_two_words_close_together_need_two_wakes() -> None:
    places = [Window(0, 5 * STEP, None), Window(2 * STEP, 8 * STEP, None)]

    assert count_wakes(ends_of(9), np.array([3]), places).misses == (1,)
    assert count_wakes(ends_of(9), np.array([3, 4]), places).misses == ()


def test_window_limits_are_exact() -> None:
    places = [Window(2 * STEP, 4 * STEP, 3 * STEP)]

    # A step that ends where the word begins has heard nothing of it.
    assert count_wakes(ends_of(9), np.array([1]), places).false_wakes == (1,)
    assert count_wakes(ends_of(9), np.array([3]), places).hits == ((0, 3),)
    assert count_wakes(ends_of(9), np.array([4]), places).false_wakes == (4,)


def test_labelled_word_has_a_window_with_a_tail() -> None:
    labels = (Label("alexa", 1.0, 1.6), Label("jarvis", 3.0, 3.5), Label("alexa", 0.2, 0.5))
    item = Item("a", HERE, labels)

    assert hit_windows(item, "alexa", 160_000, 0.5) == (
        Window(3_200, 16_000, 8_000),
        Window(16_000, 33_600, 25_600),
    )


def test_word_without_time_has_the_whole_item_as_window() -> None:
    item = Item("a", HERE, (Label("alexa"),))

    assert hit_windows(item, "alexa", 32_000, 0.5) == (Window(0, 40_000, None),)


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), max_size=8))
def test_exposure_is_audio_outside_every_window(spans: list[tuple[int, int]]) -> None:
    places = [Window(first, first + length, None) for first, length in sorted(spans)]

    outside = np.ones(1_000, bool)
    for place in places:
        outside[place.first_sample : place.end_sample] = False
    assert round(false_hours(1_000, places) * 16_000 * 3_600) == outside.sum()


SCORES = st.lists(st.floats(0, 1, width=32), max_size=40)
PLACES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=3)


def test_threshold_grid_rises_from_near_0_to_near_1() -> None:
    assert list(GRID) == sorted(set(GRID))
    assert 0 < GRID[0] < 0.001
    assert 0.999 < GRID[-1] < 1
    assert 0.5 in GRID


@given(SCORES, PLACES, st.integers(1, 3), st.integers(0, 5), st.data())
def test_curve_equals_separate_counts_at_each_threshold(
    levels: list[float],
    spans: list[tuple[int, int]],
    patience: int,
    refractory: int,
    data: st.DataObject,
) -> None:
    scores = np.array(levels, np.float32)
    ends = ends_of(len(scores))
    rule = Rule(0.5, patience, refractory * STEP)
    places = [Window(at * STEP, (at + long) * STEP, None) for at, long in sorted(spans)]

    curve = count_curve(ends, scores, rule, places)

    for at in data.draw(st.lists(st.integers(0, len(GRID) - 1), min_size=1, max_size=6)):
        alone = dataclasses.replace(rule, threshold=GRID[at])
        counted = count_wakes(ends, find_wakes(ends, scores, alone), places)
        assert curve.misses[at] == len(counted.misses)
        assert curve.false_wakes[at] == len(counted.false_wakes)


def test_counts_add_up() -> None:
    one = count_curve(ends_of(2), np.array([0.0, 0.6], np.float32), Rule(0.5), [])

    both = one + one + zero_counts()

    assert both.false_wakes[GRID.index(0.5)] == 2
    assert both.false_wakes[GRID.index(0.7)] == 0
