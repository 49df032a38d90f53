"""What happened in a play, told event by event."""

from listener.evaluate.corpus.items import Item, Label, Segment
from listener.evaluate.rates.events import EventKind
from listener.evaluate.rates.judging import MatchRule, PlayedItem, match_wakes, speaker_at
from listener.wakeword.detector import Rule
from tests.evaluate.tracks import HERE, STEP, track_of

RULE = Rule(0.5, refractory_samples=3 * STEP, near_miss_threshold=0.2)
WATCH = MatchRule("alexa", "alexa", RULE, 0.5)


def play(*labels: Label, segments: tuple[Segment, ...] = ()) -> PlayedItem:
    item = Item("a.wav", HERE, labels, speaker="ada", transcript="hello", segments=segments)
    return PlayedItem(item, "clean", 0)


def test_a_hit_tells_how_late_how_high_and_how_long() -> None:
    track = track_of(0, 0.1, 0.6, 0.9, 0.5, 0, 0)

    (hit,) = match_wakes(play(Label("alexa", 0.05, 0.2)), track, WATCH).events

    assert (hit.kind, hit.at_s, hit.play, hit.condition) == (EventKind.HIT, 0.24, 0, "clean")
    assert (round(hit.score, 3), round(hit.peak, 3)) == (0.6, 0.9)
    assert (hit.activation_s, hit.latency_s) == (0.24, 0.04)
    assert (hit.speaker, hit.transcript) == ("ada", "hello")


def test_a_miss_tells_how_near_it_came() -> None:
    track = track_of(0, 0.1, 0.4, 0.1, 0, 0, 0, 0, 0, 0.9)

    miss, false = match_wakes(
        play(Label("alexa", 0.05, 0.2)), track, MatchRule("alexa", "alexa", RULE, 0.2)
    ).events

    assert (miss.kind, round(miss.peak, 3), miss.at_s) == (EventKind.MISS, 0.4, 0.4)
    assert (false.kind, false.at_s, false.latency_s) == (EventKind.FALSE_WAKE, 0.8, None)


def test_a_near_miss_lies_outside_every_window() -> None:
    track = track_of(0, 0.3, 0, 0, 0, 0, 0.4, 0.3, 0)

    (near,) = match_wakes(play(), track_of(0, 0, 0.4, 0.3, 0), WATCH).events
    inside = match_wakes(play(Label("alexa", 0.0, 0.6)), track, WATCH).events

    assert (near.kind, near.at_s) == (EventKind.NEAR_MISS, 0.24)
    assert [event.kind for event in inside] == [EventKind.MISS]


def test_an_event_in_a_long_item_belongs_to_its_stretch() -> None:
    segments = (Segment(0.0, 0.3, "ada", "one", "left"), Segment(0.4, 0.9, "bob", "two", "right"))

    track = track_of(0, 0, 0, 0.9, 0, 0, 0, 0.9, 0)

    first, second = match_wakes(play(segments=segments), track, WATCH).events

    # The first wakes in the pause after a stretch: that stretch is what woke it.
    assert (first.at_s, first.speaker, first.clip, first.transcript) == (0.32, "ada", "one", "left")
    assert (second.at_s, second.speaker, second.clip) == (0.64, "bob", "two")
    assert speaker_at(play(segments=segments).item, 0.5) == "bob"
    assert speaker_at(play().item, 0.5) == "ada"


def test_a_play_at_another_phase_tells_times_of_the_item() -> None:
    (false,) = match_wakes(play(), track_of(0, 0.9, offset=160), WATCH).events

    assert false.at_s == (2 * STEP + 160) / 16_000
