"""The whole curve at once is what each of its thresholds gives alone."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.evaluate.rates.counting import Window, count_wakes, find_wakes
from listener.evaluate.rates.curve import GRID, count_curve, zero_counts
from listener.wakeword.detector import Rule
from tests.evaluate.tracks import STEP, ends_of

SCORES = st.lists(st.floats(0, 1, width=32), max_size=40)
PLACES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)), max_size=3)


def test_the_grid_rises_from_nearly_nothing_to_nearly_everything() -> None:
    assert list(GRID) == sorted(set(GRID))
    assert 0 < GRID[0] < 0.001
    assert 0.999 < GRID[-1] < 1
    assert 0.5 in GRID


@given(SCORES, PLACES, st.integers(1, 3), st.integers(0, 5), st.data())
def test_each_threshold_counts_as_if_it_were_judged_alone(
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
