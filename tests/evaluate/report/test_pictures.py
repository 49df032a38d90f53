import dataclasses
from xml.etree import ElementTree as ET

import msgspec

from listener.evaluate.rates.result import WordResult
from listener.evaluate.report import pictures
from tests.evaluate import sample


def read(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def of_kind(svg: str, kind: str) -> list[ET.Element]:
    return [element for element in read(svg).iter() if kind in element.get("class", "").split()]


def word(**changes: object) -> WordResult:
    return msgspec.structs.replace(
        sample.word_result("earmark", 1, ("a.flac", "b.flac")), **changes
    )


def test_each_engine_has_a_curve_a_band_and_a_point_in_its_colour() -> None:
    words = [sample.word_result(name, 1, ("a.flac",)) for name in ("one", "two", "three")]

    for svg in (pictures.draw_det(words), pictures.draw_thresholds(words)):
        for kind in ("curve", "band", "point"):
            shown = [e.get("class", "") for e in of_kind(svg, kind)]
            assert shown == [f"{kind} s{index}" for index in range(3)]


def test_a_point_tells_its_rates_with_their_intervals() -> None:
    (point,) = of_kind(pictures.draw_det([word()]), "point")

    about = point[0].text or ""
    assert about.startswith("earmark at 0.5: 3.0 % (")
    assert "per hour (" in about


def test_the_dot_of_the_threshold_lies_between_its_bounds() -> None:
    svg = pictures.draw_det([word()])

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

    svg = pictures.draw_det([word(curve=points, misses=none, false_wakes=sample.false_wakes(0, 2))])

    assert len(of_kind(svg, "curve")) == 1


def test_the_worst_speaker_comes_first_and_who_said_nothing_is_left_out() -> None:
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

    svg = pictures.draw_breakdown(speakers)

    texts = [element.text for element in of_kind(svg, "end")]
    assert texts == ["bad", "good"]


def test_many_speakers_are_cut_to_those_with_the_most_misses() -> None:
    speakers = [
        msgspec.structs.replace(word().speakers[0], name=f"p{n}", misses=sample.misses(n, 100))
        for n in range(90)
    ]

    svg = pictures.draw_breakdown(speakers)

    names = [element.text for element in of_kind(svg, "end")]
    assert names == [f"p{n}" for n in range(89, 89 - pictures.MOST_ROWS, -1)]
