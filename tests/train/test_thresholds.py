"""Thresholds: the lowest at which no more than the allowed false wakes remain."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES
from listener.evaluate.metrics.counting import find_wakes
from listener.train.thresholds import (
    MARGIN,
    PATIENCE_FRAMES,
    Track,
    count_false_wakes,
    lowest_threshold,
    measure_false_wakes,
    measure_misses,
    sustain,
)
from listener.wakeword.detector import Rule

logits = st.lists(
    st.lists(st.integers(-20, 20), min_size=1, max_size=40), min_size=1, max_size=4
).map(lambda rows: [Track(str(n), np.array(row, np.float32), 60.0) for n, row in enumerate(rows)])


@given(logits, st.integers(0, 5), st.sampled_from((0, 3 * FRAME_SAMPLES)))
def test_lowest_threshold_allows_no_more_false_wakes(
    tracks: list[Track], allowed: int, refractory: int
) -> None:
    threshold = lowest_threshold(tracks, allowed, refractory)
    blocked = threshold - MARGIN
    lowest = min(float(track.logits.min()) for track in tracks)

    assert count_false_wakes(tracks, threshold, refractory) <= allowed
    if blocked > lowest:
        assert count_false_wakes(tracks, blocked, refractory) > allowed


def test_run_of_high_scores_is_one_false_wake() -> None:
    track = Track("one", np.array([0, 5, 5, 5, 0, 0, 5, 0], np.float32), 1.0)

    assert count_false_wakes([track], 4.0, 3 * FRAME_SAMPLES) == 2
    assert count_false_wakes([track], 4.0, 20 * FRAME_SAMPLES) == 1


def test_rates_have_exact_intervals() -> None:
    track = Track("one", np.zeros(10, np.float32), 7200.0)
    woken = measure_false_wakes([track], 4.0, 0)
    missed = measure_misses(np.array([1, 3, 5, 7], np.float32), 4.0)

    assert woken.count == 0
    assert woken.high is not None
    assert abs(woken.high - 3.689 / 2) < 0.001
    assert (missed.count, missed.exposure) == (2, 4)


@given(st.lists(st.integers(-5, 5), max_size=20), st.integers(-5, 5))
def test_sustained_logits_reach_a_threshold_where_the_trigger_wakes(
    values: list[int], threshold: int
) -> None:
    logits = np.array(values, np.float32)
    rule = Rule(threshold=float(threshold), patience_steps=PATIENCE_FRAMES)
    ends = np.arange(1, len(logits) + 1) * FRAME_SAMPLES

    woken = find_wakes(ends, logits, rule).tolist()
    sustained = np.flatnonzero(sustain(logits) >= threshold) + PATIENCE_FRAMES - 1

    assert woken == sustained.tolist()
