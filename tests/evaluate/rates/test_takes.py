"""What is left of a play."""

import numpy as np
import pytest

from listener.evaluate.corpus.items import Item, Label
from listener.evaluate.rates.events import EventKind
from listener.evaluate.rates.judging import MatchRule, PlayedItem
from listener.evaluate.rates.takes import word_report
from listener.wakeword.detector import Rule
from tests.evaluate.tracks import HERE, STEP, track_of

TAKE_RULE = MatchRule(
    "alexa", "alexa", Rule(0.5, refractory_samples=STEP, near_miss_threshold=0.2), 0.1
)


def labelled_item(*labels: Label) -> PlayedItem:
    return PlayedItem(Item("a.wav", HERE, labels), "clean", 0)


def test_a_report_counts_words_hours_and_heights() -> None:
    track = track_of(0, 0.1, 0.6, 0.9, 0.1, 0, 0, 0, 0.3, 0, 0, 0)
    said = Label("alexa", 0.08, 0.16), Label("alexa", 0.6, 0.68)

    report = word_report(labelled_item(*said), track, TAKE_RULE)

    assert (report.word, report.said) == ("alexa", 2)
    assert report.hits == ((0.08, True), (0.6, False))
    # 0.96 s without the windows, 0.18 s each.
    assert report.hours * 3600 == pytest.approx(0.96 - 2 * 0.18)
    # One for the highest score in each window, and one for each step outside of both.
    assert np.flatnonzero(report.heights.said).tolist() == [15, 30]
    assert report.heights.unsaid.sum() == 8


def test_only_false_wakes_have_an_excerpt() -> None:
    track = track_of(0, 0.9, 0, 0, 0.3, 0, 0, 0.8, 0)

    report = word_report(labelled_item(Label("alexa", 0.0, 0.1)), track, TAKE_RULE)

    assert [event.kind for event in report.events] == [
        EventKind.HIT,
        EventKind.NEAR_MISS,
        EventKind.FALSE_WAKE,
    ]
    (excerpt,) = report.excerpts
    assert excerpt.at_s == 0.64


def test_a_play_shorter_than_a_step_counts_its_words_as_missed() -> None:
    report = word_report(labelled_item(Label("alexa")), track_of(), TAKE_RULE)

    assert (report.said, [hit for _, hit in report.hits]) == (1, [False])
    assert report.excerpts == ()
