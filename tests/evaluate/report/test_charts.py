import dataclasses
import itertools
import math
import re
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.evaluate.metrics.intervals import poisson, wilson
from listener.evaluate.metrics.results import (
    DetectionEvent,
    EventKind,
    Excerpt,
    Histogram,
    Point,
    WordResult,
)
from listener.evaluate.report import charts
from listener.evaluate.report.svg import NormalDeviate
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
        for kind in ("curve", "band", "point", "sample", "mark"):
            shown = [e.get("class", "").split()[:2] for e in of_kind(svg, kind)]
            assert shown == [[kind, f"s{index}"] for index in range(3)]


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


counts = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 300)), min_size=1, max_size=12)


def made_curve(steps: list[tuple[int, int]], hours: float) -> tuple[Point, ...]:
    """A curve with these misses of 20 and false wakes, by rising threshold; not always monotone."""
    return tuple(
        Point(
            threshold=(index + 1) / (len(steps) + 1),
            misses=wilson(missed, 20),
            false_wakes=poisson(false, hours),
        )
        for index, (missed, false) in enumerate(steps)
    )


def points_of(path: ET.Element) -> list[tuple[float, float]]:
    parts = re.findall(r"[-\d.]+", path.attrib["d"])
    return list(zip(map(float, parts[::2]), map(float, parts[1::2]), strict=True))


def distance_to_edge(
    place: tuple[float, float], begin: tuple[float, float], end: tuple[float, float]
) -> float:
    across, down = end[0] - begin[0], end[1] - begin[1]
    length = across**2 + down**2
    part = ((place[0] - begin[0]) * across + (place[1] - begin[1]) * down) / length if length else 0
    part = min(1.0, max(0.0, part))
    return math.dist(place, (begin[0] + part * across, begin[1] + part * down))


def is_inside(place: tuple[float, float], polygon: list[tuple[float, float]]) -> bool:
    """Whether a point is in a polygon, or on its edge as coordinates of one decimal show it."""
    edges = list(zip(polygon, [*polygon[1:], polygon[0]], strict=True))
    if any(distance_to_edge(place, *edge) <= 0.11 for edge in edges):
        return True
    x, y = place
    crossed = [
        (end[0] - begin[0]) * (y - begin[1]) / (end[1] - begin[1]) + begin[0] > x
        for begin, end in edges
        if (begin[1] > y) != (end[1] > y)
    ]
    return sum(crossed) % 2 == 1


@settings(max_examples=50)
@given(counts, st.sampled_from((0.01, 1.94, 400.0)), st.sampled_from(("monotone", "any")))
def test_det_band_contains_its_curve(
    steps: list[tuple[int, int]], hours: float, order: str
) -> None:
    if order == "monotone":
        missed, false = sorted(m for m, _ in steps), sorted((f for _, f in steps), reverse=True)
        steps = list(zip(missed, false, strict=True))
    curve = made_curve(steps, hours)

    svg = charts.draw_det([word(curve=curve)])

    (band,), (line,) = of_kind(svg, "band"), of_kind(svg, "curve")
    polygon, path = points_of(band), points_of(line)
    assert len(path) >= 1
    for begin, end in itertools.pairwise([path[0], *path]):
        for part in (0.0, 0.25, 0.5, 0.75, 1.0):
            place = tuple(a + part * (b - a) for a, b in zip(begin, end, strict=True))
            assert is_inside((place[0], place[1]), polygon)


@settings(max_examples=50)
@given(counts, st.sampled_from((0.5, 40.0)))
def test_det_band_contains_the_intervals_of_every_threshold(
    steps: list[tuple[int, int]], hours: float
) -> None:
    curve = made_curve(steps, hours)

    polygon = charts.surround(curve)

    for point in curve:
        for false in (point.false_wakes.low, point.false_wakes.value, point.false_wakes.high):
            for missed in (point.misses.low, point.misses.value, point.misses.high):
                assert false is not None
                assert missed is not None
                assert is_inside((false, missed), polygon)


def test_axes_of_the_det_curve_are_normal_deviates() -> None:
    svg = charts.draw_det([word(curve=made_curve([(1, 30), (4, 9), (10, 2), (16, 1)], 1.0))])

    grid = [float(e.attrib["y1"]) for e in of_kind(svg, "grid") if e.get("y1") == e.get("y2")]
    labels = {e.text: float(e.attrib["y"]) - 4 for e in of_kind(svg, "end")}
    assert min(labels.values()) >= min(grid) - 0.2
    # On such an axis 50 to 80 % is as far as 20 to 50 %, and 2 to 10 % is farther than 10 to 18 %.
    place = NormalDeviate(0.01, 0.99)
    assert place.fraction(0.8) - place.fraction(0.5) == pytest.approx(
        place.fraction(0.5) - place.fraction(0.2)
    )
    assert place.fraction(0.1) - place.fraction(0.02) > place.fraction(0.18) - place.fraction(0.1)
    assert labels["0 %"] > labels["10 %"] > labels["50 %"] > labels["100 %"]


def test_coinciding_curves_are_named_and_both_visible() -> None:
    same = [sample.word_result(name, 1, ("a.flac",)) for name in ("one", "two")]
    other = sample.word_result("three", 2, ("a.flac",))

    svg = charts.draw_det([*same, other])

    assert charts.coinciding([*same, other]) == [("one", "two")]
    assert [e.attrib["class"] for e in of_kind(svg, "curve")] == [
        "curve s0 under",
        "curve s1",
        "curve s2",
    ]
    assert charts.coinciding([same[0], other]) == []


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

    texts = [element.text for element in of_kind(svg, "row")]
    assert texts == ["bad", "good"]


def test_breakdown_is_limited_to_speakers_with_most_misses() -> None:
    speakers = [
        msgspec.structs.replace(word().speakers[0], name=f"p{n}", misses=sample.misses(n, 100))
        for n in range(90)
    ]

    svg = charts.draw_breakdown(speakers)

    names = [element.text for element in of_kind(svg, "row")]
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
