"""What fires in one play fires in others, or does not."""

from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.repeatability import measure_repeatability
from listener.evaluate.rates.result import Repeatability


def event(
    item: str, at_s: float, play: int, kind: EventKind = EventKind.FALSE_WAKE
) -> DetectionEvent:
    return DetectionEvent(kind, "alexa", item, "clean", play, at_s, 0.9, 0.9, 0.08)


def told(found: tuple[Repeatability, ...]) -> list[tuple[str, str, float, int, int]]:
    return [(each.kind, each.item, each.at_s, each.fired, each.plays) for each in found]


def test_a_word_says_in_how_many_plays_it_woke() -> None:
    hits = {("a", 0): (1.5, [True, False, True]), ("a", 1): (4.0, [False] * 3)}

    assert told(measure_repeatability(hits, (), 3)) == [
        ("hit", "a", 1.5, 2, 3),
        ("hit", "a", 4.0, 0, 3),
    ]


def test_false_wakes_of_several_plays_are_one_where_they_lie_close() -> None:
    events = [event("a", 30.0, 2), event("a", 7.4, 1), event("a", 7.0, 0)]

    assert told(measure_repeatability({}, events, 3)) == [
        ("false wake", "a", 7.0, 2, 3),
        ("false wake", "a", 30.0, 1, 3),
    ]


def test_two_false_wakes_of_one_play_at_one_place_count_once() -> None:
    events = [event("a", 7.0, 0), event("a", 7.3, 0)]

    assert told(measure_repeatability({}, events, 2)) == [("false wake", "a", 7.0, 1, 2)]


def test_the_same_moment_of_another_item_is_another_place() -> None:
    events = [event("a", 7.0, 0), event("b", 7.0, 1)]

    assert [each[1] for each in told(measure_repeatability({}, events, 2))] == ["a", "b"]


def test_only_false_wakes_are_looked_for_among_events() -> None:
    events = [event("a", 7.0, 0, kind) for kind in EventKind if kind is not EventKind.FALSE_WAKE]

    assert measure_repeatability({}, events, 2) == ()
