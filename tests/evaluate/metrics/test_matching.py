"""Events of a play."""

import numpy as np
import pytest

from listener.evaluate.corpus.items import Item, Label, Segment
from listener.evaluate.metrics.matching import (
    MatchRule,
    PlayedItem,
    match_wakes,
    speaker_at,
    word_report,
)
from listener.evaluate.metrics.results import EventKind
from listener.wakeword.detector import Rule
from tests.evaluate.tracks import HERE, STEP, track_of

RULE = Rule(0.5, refractory_samples=3 * STEP, near_miss_threshold=0.2)
WATCH = MatchRule("alexa", "alexa", RULE, 0.5)


def play(*labels: Label, segments: tuple[Segment, ...] = ()) -> PlayedItem:
    item = Item("a.wav", HERE, labels, speaker="ada", transcript="hello", segments=segments)
    return PlayedItem(item, "clean", 0)


def test_hit_has_latency_peak_score_and_duration() -> None:
    track = track_of(0, 0.1, 0.6, 0.9, 0.5, 0, 0)

    (hit,) = match_wakes(play(Label("alexa", 0.05, 0.2)), track, WATCH).events

    assert (hit.kind, hit.at_s, hit.play, hit.condition) == (EventKind.HIT, 0.24, 0, "clean")
    assert (round(hit.score, 3), round(hit.peak, 3)) == (0.6, 0.9)
    assert (hit.activation_s, hit.latency_s) == (0.24, 0.04)
    assert (hit.speaker, hit.transcript) == ("ada", "hello")


def test_miss_has_the_peak_score_of_its_window() -> None:
    track = track_of(0, 0.1, 0.4, 0.1, 0, 0, 0, 0, 0, 0.9)

    miss, false = match_wakes(
        play(Label("alexa", 0.05, 0.2)), track, MatchRule("alexa", "alexa", RULE, 0.2)
    ).events

    assert (miss.kind, round(miss.peak, 3), miss.at_s) == (EventKind.MISS, 0.4, 0.4)
    assert (false.kind, false.at_s, false.latency_s) == (EventKind.FALSE_WAKE, 0.8, None)


def test_near_miss_is_outside_every_window() -> None:
    track = track_of(0, 0.3, 0, 0, 0, 0, 0.4, 0.3, 0)

    (near,) = match_wakes(play(), track_of(0, 0, 0.4, 0.3, 0), WATCH).events
    inside = match_wakes(play(Label("alexa", 0.0, 0.6)), track, WATCH).events

    assert (near.kind, near.at_s) == (EventKind.NEAR_MISS, 0.24)
    assert [event.kind for event in inside] == [EventKind.MISS]


def test_event_in_a_long_item_belongs_to_its_segment() -> None:
    segments = (Segment(0.0, 0.3, "ada", "one", "left"), Segment(0.4, 0.9, "bob", "two", "right"))

    track = track_of(0, 0, 0, 0.9, 0, 0, 0, 0.9, 0)

    first, second = match_wakes(play(segments=segments), track, WATCH).events

    # The first wakes in the pause after a stretch: that stretch is what woke it.
    assert (first.at_s, first.speaker, first.clip, first.transcript) == (0.32, "ada", "one", "left")
    assert (second.at_s, second.speaker, second.clip) == (0.64, "bob", "two")
    assert speaker_at(play(segments=segments).item, 0.5) == "bob"
    assert speaker_at(play().item, 0.5) == "ada"


def test_event_times_are_corrected_for_the_phase() -> None:
    (false,) = match_wakes(play(), track_of(0, 0.9, offset=160), WATCH).events

    assert false.at_s == (2 * STEP + 160) / 16_000


TAKE_RULE = MatchRule(
    "alexa", "alexa", Rule(0.5, refractory_samples=STEP, near_miss_threshold=0.2), 0.1
)


def labelled_item(*labels: Label) -> PlayedItem:
    return PlayedItem(Item("a.wav", HERE, labels), "clean", 0)


def test_report_counts_words_hours_and_scores() -> None:
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


def test_words_of_an_item_shorter_than_a_step_are_misses() -> None:
    report = word_report(labelled_item(Label("alexa")), track_of(), TAKE_RULE)

    assert (report.said, [hit for _, hit in report.hits]) == (1, [False])
    assert report.excerpts == ()
