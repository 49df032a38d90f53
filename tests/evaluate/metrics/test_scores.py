import dataclasses

import numpy as np
import pytest

from listener.evaluate.engines.interface import ScoreTrack
from listener.evaluate.metrics.results import DetectionEvent, EventKind
from listener.evaluate.metrics.scores import BINS, ScoreHistogram, cut_excerpt

EVENT = DetectionEvent(
    kind=EventKind.FALSE_WAKE,
    word="b",
    item="x.flac",
    condition="clean",
    play=3,
    at_s=4.0,
    score=0.9,
    peak=0.9,
    activation_s=0.1,
)


def ramp(steps: int) -> ScoreTrack:
    scores = np.stack([np.zeros(steps), np.arange(steps) / 1000], axis=1).astype(np.float32)
    return ScoreTrack(("a", "b"), scores, 1280, 1280, steps * 1280 + 17)


def test_excerpt_has_the_scores_of_the_word_around_the_event() -> None:
    found = cut_excerpt(ramp(200), EVENT, before_s=0.16, after_s=0.08)

    assert found.scores == (0.047, 0.048, 0.049, 0.05)
    assert found.first_s == pytest.approx(3.84)
    assert found.step_s == 0.08
    assert (found.item, found.play, found.at_s) == ("x.flac", 3, 4.0)
    assert found.length_s == (200 * 1280 + 17) / 16000


def test_excerpt_ends_with_its_item() -> None:
    found = cut_excerpt(ramp(51), EVENT)

    assert found.scores[-1] == 0.05
    assert len(cut_excerpt(ramp(3), EVENT).scores) == 0


def test_excerpt_begins_with_its_item() -> None:
    found = cut_excerpt(ramp(200), dataclasses.replace(EVENT, at_s=0.5))

    assert found.scores[0] == 0
    assert found.first_s == 0.08


def test_every_score_is_counted_once_in_its_bin() -> None:
    heights = ScoreHistogram()
    said = np.array([1.0, 0.99], np.float32)

    heights.add(said, (np.arange(1000) / 1000 + 0.0005).astype(np.float32))
    heights.add(said[:0], np.array([0.5], np.float32))
    found = heights.histogram()

    assert len(found.said) == len(found.unsaid) == BINS
    assert found.said[-1] == 2
    assert sum(found.unsaid) == 1001
    assert found.unsaid[25] == 21
