import dataclasses
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from listener.evaluate.metrics.results import (
    DetectionEvent,
    EventKind,
    Excerpt,
    Histogram,
    WordResult,
)
from listener.evaluate.report import charts
from tests.evaluate import sample


def read(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def of_kind(svg: str, kind: str) -> list[ET.Element]:
    return [element for element in read(svg).iter() if kind in element.get("class", "").split()]


def word(**changes: object) -> WordResult:
    return msgspec.structs.replace(
        sample.word_result("earmark", 1, ("a.flac", "b.flac")), **changes
    )


def test_each_engine_has_a_coloured_curve_band_and_point() -> None:
    words = [sample.word_result(name, 1, ("a.flac",)) for name in ("one", "two", "three")]

    for svg in (charts.draw_det(words), charts.draw_thresholds(words)):
        for kind in ("curve", "band", "point"):
            shown = [e.get("class", "") for e in of_kind(svg, kind)]
            assert shown == [f"{kind} s{index}" for index in range(3)]


def test_point_title_has_rates_with_intervals() -> None:
    (point,) = of_kind(charts.draw_det([word()]), "point")

    about = point[0].text or ""
    assert about.startswith("earmark at 0.5: 3.0 % (")
    assert "per hour (" in about


def test_threshold_point_lies_between_its_interval_bounds() -> None:
    svg = charts.draw_det([word()])

    (point,) = of_kind(svg, "point")
    across, down = of_kind(svg, "whisker")
    assert float(across.attrib["x1"]) <= float(point.attrib["cx"]) <= float(across.attrib["x2"])
    assert float(down.attrib["y1"]) >= float(point.attrib["cy"]) >= float(down.attrib["y2"])


def test_curves_without_any_event_can_be_drawn() -> None:
    none = sample.misses(0, 100)
    points = tuple(
        msgspec.structs.replace(point, misses=none, false_wakes=sample.false_wakes(0, 2))
        for point in word().curve
    )

    svg = charts.draw_det([word(curve=points, misses=none, false_wakes=sample.false_wakes(0, 2))])

    assert len(of_kind(svg, "curve")) == 1


def test_breakdown_is_sorted_and_omits_speakers_without_words() -> None:
    rows = [
        dataclasses.replace(sample.misses(count, words), count=count) for count, words in ((0, 9),)
    ]
    speakers = [
        msgspec.structs.replace(word().speakers[0], name=name, misses=misses)
        for name, misses in (
            ("good", rows[0]),
            ("bad", sample.misses(5, 9)),
            ("silent", sample.misses(0, 0)),
        )
    ]

    svg = charts.draw_breakdown(speakers)

    texts = [element.text for element in of_kind(svg, "end")]
    assert texts == ["bad", "good"]


def test_breakdown_is_limited_to_speakers_with_most_misses() -> None:
    speakers = [
        msgspec.structs.replace(word().speakers[0], name=f"p{n}", misses=sample.misses(n, 100))
        for n in range(90)
    ]

    svg = charts.draw_breakdown(speakers)

    names = [element.text for element in of_kind(svg, "end")]
    assert names == [f"p{n}" for n in range(89, 89 - charts.MOST_ROWS, -1)]


def elements_of_kind(svg: str, kind: str) -> list[ET.Element]:
    found = ET.fromstring(svg).iter()
    return [element for element in found if kind in element.get("class", "").split()]


def test_histogram_has_a_bar_for_each_non_empty_bin() -> None:
    svg = charts.draw_histogram(Histogram(said=(0, 0, 3, 1), unsaid=(1000, 0, 0, 2)), 0.5)

    assert len(elements_of_kind(svg, "s0")) == 2
    assert len(elements_of_kind(svg, "s1")) == 2
    assert len(elements_of_kind(svg, "threshold")) == 1
    assert (elements_of_kind(svg, "s1")[0][0].text or "").startswith("0.00 to 0.25: 1,000 steps")


def test_timeline_lane_has_the_length_of_its_recording() -> None:
    events = [event(item="long", at_s=90), event(item="short", at_s=10)]

    svg = charts.draw_timeline(events, {"long": 100.0, "short": 50.0})

    long, short = elements_of_kind(svg, "lane")
    length = [float(lane.attrib["x2"]) - float(lane.attrib["x1"]) for lane in (long, short)]
    assert length[1] == pytest.approx(length[0] / 2, abs=0.2)
    assert len(elements_of_kind(svg, "point")) == 2


def test_timeline_is_limited_to_lanes_with_most_false_wakes() -> None:
    events = [event(item=f"{n:03}", at_s=place) for n in range(60) for place in range(1 + n % 3)]

    svg = charts.draw_timeline(events, {})

    assert len(elements_of_kind(svg, "lane")) == charts.MOST_LANES


def test_score_chart_shows_scores_and_threshold() -> None:
    excerpt = Excerpt(
        item="a", play=0, at_s=5, length_s=9, first_s=4.0, step_s=0.5, scores=(0.0, 0.5, 1.0, 0.2)
    )

    svg = charts.draw_trace(excerpt, 0.5)

    assert len(elements_of_kind(svg, "threshold")) == 1
    (curve,) = elements_of_kind(svg, "curve")
    assert curve.attrib["d"].count("L") == 3


def test_score_chart_without_scores_is_empty() -> None:
    excerpt = Excerpt(item="a", play=0, at_s=5, length_s=9, first_s=0, step_s=0.5, scores=())

    assert elements_of_kind(charts.draw_trace(excerpt, 0.5), "curve") == []


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
