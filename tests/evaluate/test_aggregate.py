"""Totals over the plays of a corpus."""

from pathlib import Path

import pytest

from listener.evaluate.aggregate import Totals
from listener.evaluate.corpus.items import Item, Label, Segment
from listener.evaluate.corpus.stream import StreamItem
from listener.evaluate.metrics.counting import zero_counts
from listener.evaluate.metrics.matching import TakeReport, WordReport
from listener.evaluate.metrics.results import DetectionEvent, EventKind, WordResult
from listener.evaluate.metrics.scores import ScoreHistogram
from listener.evaluate.plan import EvaluationPlan

HERE = Path("x")


def event(
    kind: EventKind, item: str, at_s: float, play: int = 0, speaker: str | None = None
) -> DetectionEvent:
    latency_s = 0.1 * (play + 1) if kind is EventKind.HIT else None
    return DetectionEvent(
        kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08, latency_s, speaker
    )


def report(*events: DetectionEvent, hits: str = "", hours: float = 1.0) -> WordReport:
    places = tuple((float(index), hit == "+") for index, hit in enumerate(hits))
    return WordReport(
        "alexa", len(hits), hours, zero_counts(), events, places, ScoreHistogram(), ()
    )


def take(play: int = 0) -> TakeReport:
    return TakeReport(0, 0, play, 16_000, 5, ())


def result(totals: Totals) -> WordResult:
    return totals.result(
        engine="alexa",
        word="alexa",
        spoken="alexa",
        condition="clean",
        threshold=0.5,
        threshold_from="manifest",
        target=None,
        plan=EvaluationPlan(claims_per_hour=(0.5,), seed=1),
    )


def test_counts_are_means_and_exposure_is_of_one_play() -> None:
    totals = Totals(2)
    item = Item("a", HERE, (Label("alexa"), Label("alexa")), speaker="ada", condition="3 m")

    totals.add(item, take(0), report(event(EventKind.MISS, "a", 1, 0, "ada"), hits="-+"))
    totals.add(item, take(1), report(event(EventKind.FALSE_WAKE, "a", 2, 1, "ada"), hits="++"))

    found = result(totals)
    assert (found.items, found.plays, found.words_said, found.hours) == (1, 2, 2, 1.0)
    assert (found.misses.count, found.misses.value) == (0.5, 0.25)
    assert (found.false_wakes.count, found.false_wakes.value) == (0.5, 0.5)
    assert found.clipped_samples == 10
    (speaker,) = found.speakers
    assert (speaker.name, speaker.misses.count, speaker.misses.exposure) == ("ada", 0.5, 2)
    (group,) = found.groups
    assert (group.name, group.false_wakes.count) == ("3 m", 0.5)


def test_words_and_false_wakes_have_a_count_of_plays() -> None:
    totals = Totals(3)
    item = Item("a", HERE, (Label("alexa"),))
    for play, (hits, at_s) in enumerate([("+", 7.0), ("-", 7.4), ("+", 30.0)]):
        totals.add(
            item, take(play), report(event(EventKind.FALSE_WAKE, "a", at_s, play), hits=hits)
        )

    found = [
        (each.kind, each.at_s, each.fired, each.plays) for each in result(totals).repeatability
    ]

    assert found == [("hit", 0.0, 2, 3), ("false wake", 7.0, 2, 3), ("false wake", 30.0, 1, 3)]


def test_events_are_sorted_with_latency_and_activation() -> None:
    totals = Totals(1)
    events = [
        event(EventKind.HIT, "a", 1),
        event(EventKind.NEAR_MISS, "a", 2),
        event(EventKind.FALSE_WAKE, "a", 3),
    ]
    totals.add(Item("a", HERE), take(), report(*events))

    found = result(totals)

    assert [each.kind for each in found.events] == ["near miss", "false wake", "hit"]
    assert found.near_misses == 1
    assert found.latency_s == (0.1, 0.1, 0.1)
    assert found.activation_s == (0.08, 0.08, 0.08)


def test_transcripts_are_counted_in_words() -> None:
    totals = Totals(1)
    said = Item("a", HERE, transcript="one two  three four")
    parts = (Segment(0, 1, transcript="five six"), Segment(1, 2))
    totals.add(said, take(), report(event(EventKind.FALSE_WAKE, "a", 1)))
    totals.add(Item("b", HERE, segments=parts), take(), report())
    totals.add(Item("c", HERE), take(), report(event(EventKind.FALSE_WAKE, "c", 1)))

    rate = result(totals).false_wakes_per_10000_words

    assert rate is not None
    assert (rate.count, rate.exposure, rate.unit) == (1, 6, "per 10000 words")
    assert rate.value == pytest.approx(10_000 / 6)


def test_speakers_of_a_stream_have_separate_hours() -> None:
    parts = (Segment(0, 360, "ada"), Segment(400, 1120, "bob"), Segment(1200, 1300))
    totals = Totals(1)
    totals.add(
        Item("a", HERE, segments=parts),
        take(),
        report(event(EventKind.FALSE_WAKE, "a", 9, 0, "ada")),
    )

    found = {each.name: each.false_wakes for each in result(totals).speakers}

    assert (found["ada"].count, found["ada"].exposure) == (1, 0.1)
    assert (found["bob"].count, found["bob"].exposure) == (0, 0.2)


@pytest.mark.parametrize("kind", [Item, StreamItem])
def test_overlapping_segments_of_a_speaker_count_once(kind: type[Item]) -> None:
    parts = (Segment(0, 360, "ada"), Segment(100, 200, "ada"), Segment(300, 720, "ada"))
    totals = Totals(1)
    totals.add(kind("a", HERE, segments=parts), take(), report())

    (speaker,) = result(totals).speakers

    assert speaker.false_wakes.exposure == pytest.approx(0.2)


def test_clustered_events_widen_the_interval() -> None:
    totals = Totals(1)
    for number in range(10):
        events = [event(EventKind.FALSE_WAKE, str(number), at) for at in range(8 * (number == 3))]
        totals.add(Item(str(number), HERE), take(), report(*events))

    found = result(totals)

    spread = found.false_wakes_by_recording
    assert spread is not None
    assert (spread.value, spread.low) == (0.8, 0.0)
    assert spread.high is not None
    assert found.false_wakes.high is not None
    assert spread.high > found.false_wakes.high


def test_items_of_one_file_are_one_recording() -> None:
    totals = Totals(2)
    for number in range(12):
        item = Item(str(number), HERE)
        for play in (0, 1):
            events = [event(EventKind.FALSE_WAKE, str(number), 1, play)] * (number == 0)
            totals.add(item, take(play), report(*events), f"{number // 2:064x}"[::-1])

    assert [share.hours for share in totals.recordings] == [2.0] * 6
    assert [share.false for share in totals.recordings] == [2, 0, 0, 0, 0, 0]
    assert result(totals).items == 12


def test_few_speakers_have_no_bootstrap() -> None:
    totals = Totals(1)
    for name in "abc":
        item = Item(name, HERE, (Label("alexa"),), speaker=name)
        totals.add(item, take(), report(event(EventKind.MISS, name, 1, 0, name), hits="-"))

    assert result(totals).misses_by_speaker is None


def test_outcomes_are_those_of_the_first_play() -> None:
    totals = Totals(2)
    item = Item("a", HERE, (Label("alexa"),))
    totals.add(item, take(0), report(hits="-"))
    totals.add(item, take(1), report(hits="+"))

    assert totals.outcomes() == {("a", 0): False}
