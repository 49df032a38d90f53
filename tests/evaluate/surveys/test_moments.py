from pathlib import Path

import pytest

from listener.evaluate.rates.events import EventKind
from listener.evaluate.surveys.moments import Moment, find_moments
from listener.evaluate.surveys.spans import Span, Spans
from listener.evaluate.surveys.traces import merge
from tests.evaluate.made_traces import BEGAN, rises, write_trace

BEGAN_S = BEGAN.timestamp()


def found(path: Path, threshold: float, stimuli: Spans) -> list[Moment]:
    merged = merge([path], Spans(), stimuli)
    return [one for chain in merged.chains for one in find_moments(chain, stimuli, threshold)]


def test_the_scores_around_a_wake_are_those_of_the_trace(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000, 1010)})

    first = found(tmp_path / "a", 0.5, Spans())[0].excerpt

    peak = round((first.at_s - first.first_s) / first.step_s)
    assert first.scores[peak] == pytest.approx(0.9)
    assert first.scores[peak + 10] == pytest.approx(0.9)
    assert sum(score > 0 for score in first.scores) == 6


def test_a_moment_knows_its_device_its_day_and_what_was_playing(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000)})
    played = Span(BEGAN_S + 20, BEGAN_S + 1000, "news")

    (wake,) = found(tmp_path / "a", 0.5, Spans([played]))

    assert wake.event.kind is EventKind.FALSE_WAKE
    assert (wake.device, wake.day, wake.span) == ("hall", int(BEGAN_S // 86_400), played)
    assert wake.event.item == "hall 2026-03-04"
    assert wake.event.clip == "news +0:01:00"


def test_what_stays_below_a_higher_threshold_is_a_near_miss(tmp_path: Path) -> None:
    write_trace(tmp_path / "a", {"alexa": rises(2000, 1000)})

    (near,) = found(tmp_path / "a", 0.95, Spans())

    assert near.event.kind is EventKind.NEAR_MISS
    assert near.event.score == pytest.approx(0.9)
    assert near.event.activation_s == 0.0
