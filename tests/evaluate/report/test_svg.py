import itertools
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.evaluate.report.svg import (
    SERIES,
    AxisFormat,
    Linear,
    Logarithmic,
    NormalDeviate,
    Scale,
    SvgChart,
    clean,
    format_value,
    shorten,
    standalone,
    step_path,
)

spans = st.tuples(st.floats(1e-6, 1e6), st.floats(1.01, 1e6))
kinds = st.sampled_from((Linear, Logarithmic))


@given(spans, st.floats(-1e12, 1e12), kinds)
def test_scale_fractions_are_between_0_and_1(
    span: tuple[float, float], value: float, kind: Callable[[float, float], Scale]
) -> None:
    scale = kind(span[0], span[0] * span[1])

    assert 0 <= scale.fraction(value) <= 1


@given(spans, kinds)
def test_ticks_rise_within_their_scale(
    span: tuple[float, float], kind: Callable[[float, float], Scale]
) -> None:
    low, high = span[0], span[0] * span[1]
    scale = kind(low, high)

    ticks = scale.ticks()

    assert list(ticks) == sorted(set(ticks))
    for tick in ticks:
        assert tick == 0 or low * 0.99 - 1e-9 <= tick <= high * 1.01 + 1e-9


def test_logarithmic_scale_has_a_position_for_zero() -> None:
    scale = Logarithmic(0.1, 10, 0.1)

    assert scale.fraction(0) == 0
    assert scale.fraction(0.1) == pytest.approx(0.1)
    assert scale.fraction(1) == pytest.approx(0.55)
    assert scale.fraction(10) == 1
    assert scale.ticks()[:2] == (0, 0.1)


def test_text_is_escaped_in_svg() -> None:
    drawing = SvgChart("<b>&")
    drawing.text((1, 2), "</text><script>alert(1)</script>", "tick")
    drawing.dot((1, 2), "point", 'a "quoted" <title>')

    svg = drawing.svg()

    assert "<script" not in svg
    assert "<b>" not in svg
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "<b>&"
    assert [element.text for element in root.iter("title")] == ['a "quoted" <title>']


@given(st.text())
def test_chart_with_any_name_is_valid_xml(name: str) -> None:
    drawing = SvgChart("x")
    drawing.text((0, 0), name, "tick")

    root = ET.fromstring(drawing.svg())

    assert (root[0].text or "") == clean(name)


@pytest.mark.parametrize("unfit", ["\x00", "\x1b", "\u202e", "\ud800", "\uffff", "\x85"])
def test_control_and_direction_characters_are_replaced(unfit: str) -> None:
    assert clean(f"a{unfit}b") == "a\ufffdb"


def test_axes_have_their_names_and_ticks() -> None:
    drawing = SvgChart("x")

    drawing.axes(
        Logarithmic(0.1, 10), Linear(0, 1), ("hours", "misses"), AxisFormat("plain", "percent")
    )

    texts = [element.text for element in ET.fromstring(drawing.svg()).iter("text")]
    assert {"hours", "misses", "0", "0.1", "1", "10", "0 %", "100 %"} <= set(texts)


def test_path_without_points_is_not_drawn() -> None:
    drawing = SvgChart("x")

    drawing.path([], "curve")

    assert "path" not in drawing.svg()


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (0.125, "percent", "12.5 %"),
        (65, "clock", "1:05"),
        (3725, "clock", "1:02:05"),
        (12345.6, "plain", "12,346"),
        (0.5, "plain", "0.5"),
    ],
)
def test_values_are_formatted_for_reading(value: float, form: str, expected: str) -> None:
    assert format_value(value, form) == expected


def test_step_path_has_only_axis_parallel_segments() -> None:
    steps = step_path([(0, 0), (1, 2), (3, 5)])

    assert steps == [(0, 0), (1, 0), (1, 2), (3, 2), (3, 5)]
    assert all(
        math.isclose(a[0], b[0]) or math.isclose(a[1], b[1]) for a, b in itertools.pairwise(steps)
    )


def test_long_name_is_shortened_in_its_middle() -> None:
    assert shorten("a" * 24) == "a" * 24
    assert shorten("speakers/1737/0001.flac", 12) == "speak…1.flac"
    assert shorten("\u8a9e" * 24, 11) == "\u8a9e\u8a9e\u8a9e…\u8a9e\u8a9e"


@given(st.floats(1e-6, 0.4), st.floats(0, 4000), st.sampled_from((1.0, 3600.0)))
def test_normal_deviate_rises_with_the_value(low: float, value: float, trials: float) -> None:
    scale = NormalDeviate(low, 0.99, trials)

    assert 0 <= scale.fraction(value) <= scale.fraction(value * 1.5 + 1e-9) <= 1
    assert scale.fraction(0) == 0
    assert scale.fraction(trials) == 1
    assert scale.fraction(trials / 2) == pytest.approx(
        0.08 + 0.84 * NormalDeviate(low, 0.99, 1, 0, 0).fraction(0.5)
    )
    assert list(scale.ticks()) == sorted(set(scale.ticks()))


def test_labels_of_an_axis_do_not_overlap() -> None:
    drawing = SvgChart("x")

    drawing.horizontal_axis(NormalDeviate(1e-6, 0.9, 3600), "x", lambda value: f"{value:g}")

    labels = [
        (float(e.attrib["x"]), len(e.text or ""))
        for e in ET.fromstring(drawing.svg()).iter("text")
        if "tick" in e.attrib["class"]
    ]
    assert len(labels) > 3
    for (left, one), (right, two) in itertools.pairwise(labels):
        assert right - left >= (one + two) / 2 * 7


def test_file_of_a_chart_has_its_own_style_and_line_styles() -> None:
    drawing = SvgChart("x")
    drawing.legend(["<one>", "two"], 200)

    root = ET.fromstring(standalone(drawing.svg()))

    name = "{http://www.w3.org/2000/svg}"
    style = root[0].text or ""
    assert (root[0].tag, root[1].attrib["fill"]) == (f"{name}style", "#ffffff")
    assert root.attrib["width"] == "360"
    dashes = re.findall(r"\.sample\{stroke:[^;]+;stroke-dasharray:([^}]*)", style)
    assert len(set(dashes)) == len(dashes) == SERIES
    assert len(set(markers())) == SERIES


def markers() -> list[str]:
    drawing = SvgChart("x")
    for index in range(SERIES):
        drawing.marker((50, 50), index, "mark")
    return [ET.tostring(e, encoding="unicode") for e in ET.fromstring(drawing.svg())]
