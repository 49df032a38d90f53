import dataclasses
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.result import Excerpt, Histogram
from listener.evaluate.report import scores


def elements_of_kind(svg: str, kind: str) -> list[ET.Element]:
    found = ET.fromstring(svg).iter()
    return [element for element in found if kind in element.get("class", "").split()]


def test_a_histogram_has_a_bar_for_each_bin_that_is_not_empty() -> None:
    svg = scores.draw_histogram(Histogram(said=(0, 0, 3, 1), unsaid=(1000, 0, 0, 2)), 0.5)

    assert len(elements_of_kind(svg, "s0")) == 2
    assert len(elements_of_kind(svg, "s1")) == 2
    assert len(elements_of_kind(svg, "threshold")) == 1
    assert (elements_of_kind(svg, "s1")[0][0].text or "").startswith("0.00 to 0.25: 1,000 steps")


def test_a_lane_is_as_long_as_its_recording() -> None:
    events = [event(item="long", at_s=90), event(item="short", at_s=10)]

    svg = scores.draw_timeline(events, {"long": 100.0, "short": 50.0})

    long, short = elements_of_kind(svg, "lane")
    length = [float(lane.attrib["x2"]) - float(lane.attrib["x1"]) for lane in (long, short)]
    assert length[1] == pytest.approx(length[0] / 2, abs=0.2)
    assert len(elements_of_kind(svg, "point")) == 2


def test_only_the_lanes_with_the_most_false_wakes_are_drawn() -> None:
    events = [event(item=f"{n:03}", at_s=place) for n in range(60) for place in range(1 + n % 3)]

    svg = scores.draw_timeline(events, {})

    assert len(elements_of_kind(svg, "lane")) == scores.MOST_LANES


def test_a_trace_shows_its_scores_and_the_threshold() -> None:
    excerpt = Excerpt(
        item="a", play=0, at_s=5, length_s=9, first_s=4.0, step_s=0.5, scores=(0.0, 0.5, 1.0, 0.2)
    )

    svg = scores.draw_trace(excerpt, 0.5)

    assert len(elements_of_kind(svg, "threshold")) == 1
    (curve,) = elements_of_kind(svg, "curve")
    assert curve.attrib["d"].count("L") == 3


def test_a_trace_without_scores_is_an_empty_chart() -> None:
    excerpt = Excerpt(item="a", play=0, at_s=5, length_s=9, first_s=0, step_s=0.5, scores=())

    assert elements_of_kind(scores.draw_trace(excerpt, 0.5), "curve") == []


def event(**changes: object) -> DetectionEvent:
    given: dict[str, Any] = changes
    base = DetectionEvent(
        kind=EventKind.FALSE_WAKE,
        word="alexa",
        item="a",
        condition="clean",
        play=0,
        at_s=1.0,
        score=0.6,
        peak=0.7,
        activation_s=0.2,
    )
    return dataclasses.replace(base, **given)
