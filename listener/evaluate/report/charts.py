"""Charts as SVG: DET curve, thresholds, breakdowns, histogram, timeline, scores. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import (
    Breakdown,
    DetectionEvent,
    EventKind,
    Excerpt,
    Histogram,
    Point,
    WordResult,
)
from listener.evaluate.report.svg import (
    AxisFormat,
    Linear,
    Logarithmic,
    Place,
    Scale,
    SvgChart,
    format_value,
    shorten,
    step_path,
)
from listener.evaluate.report.text import per_hour, percent

SERIES: Final = 6
"""Number of colours of the page; further engines repeat them."""
MOST_ROWS: Final = 40
"""Speakers or groups that a chart shows, those with the highest rates."""
MOST_LANES: Final = 40
"""Items that the timeline shows, those with the most false wakes."""

_LOWEST_PER_HOUR: Final = 0.01
_ROW: Final = 20.0
_LANE: Final = 20.0


def draw_det(words: Sequence[WordResult]) -> str:
    """Draw the DET curve of each engine: misses against false wakes per hour, with intervals.

    Args:
        words: results of one or several engines on the same items.
    """
    points = [point for word in words for point in word.curve]
    across = _per_hour([point.false_wakes for point in points])
    seen = [point.misses.value for point in points if point.misses.value]
    up = Logarithmic(10.0 ** math.floor(math.log10(min([*seen, 0.1]))), 1)
    drawing = SvgChart("misses against false wakes per hour at every threshold", 560, 360)
    drawing.axes(across, up, ("false wakes per hour", "misses"), AxisFormat("plain", "percent"))

    def at(false_wakes: float | None, misses: float | None) -> Place:
        return (
            drawing.x(across.fraction(_value(false_wakes))),
            drawing.y(up.fraction(_value(misses))),
        )

    for index, word in enumerate(words):
        series = f"s{index % SERIES}"
        points = _drop_redundant(word.curve)
        far = [at(point.false_wakes.high, point.misses.high) for point in points]
        near = [at(point.false_wakes.low, point.misses.low) for point in points]
        drawing.path([*far, *reversed(near)], f"band {series}", closed=True)
    for index, word in enumerate(words):
        series = f"s{index % SERIES}"
        points = _drop_redundant(word.curve)[::-1]
        line = step_path(at(point.false_wakes.value, point.misses.value) for point in points)
        drawing.path(line, f"curve {series}")
        misses, false = word.misses, word.false_wakes
        drawing.line(at(false.low, misses.value), at(false.high, misses.value), f"whisker {series}")
        drawing.line(at(false.value, misses.low), at(false.value, misses.high), f"whisker {series}")
        about = f"{word.engine} at {word.threshold:.3g}: {percent(misses)}, {per_hour(false)}"
        drawing.dot(at(false.value, misses.value), f"point {series}", about, 5)
    return drawing.svg()


def draw_thresholds(words: Sequence[WordResult]) -> str:
    """Draw false wakes per hour against the threshold, with intervals."""
    points = [point for word in words for point in word.curve]
    up = _per_hour([point.false_wakes for point in points])
    across = Linear(0, 1)
    drawing = SvgChart("false wakes per hour against the threshold", 560, 300)
    drawing.axes(across, up, ("threshold", "false wakes per hour"), AxisFormat("plain", "plain"))

    def at(threshold: float, value: float | None) -> Place:
        return drawing.x(across.fraction(threshold)), drawing.y(up.fraction(_value(value)))

    for index, word in enumerate(words):
        series = f"s{index % SERIES}"
        curve = _drop_redundant(word.curve)
        high = step_path(at(point.threshold, point.false_wakes.high) for point in curve)
        low = step_path(at(point.threshold, point.false_wakes.low) for point in curve)
        drawing.path([*high, *reversed(low)], f"band {series}", closed=True)
        line = step_path(at(point.threshold, point.false_wakes.value) for point in curve)
        drawing.path(line, f"curve {series}")
        about = f"{word.engine} at {word.threshold:.3g}: {per_hour(word.false_wakes)}"
        drawing.dot(at(word.threshold, word.false_wakes.value), f"point {series}", about, 5)
    return drawing.svg()


def draw_breakdown(rows: Sequence[Breakdown]) -> str:
    """Draw the misses of each speaker or group with intervals, the highest rate first."""
    shown = [(row.name, row.misses, percent(row.misses)) for row in rows if row.misses.exposure]
    return _forest(shown, Linear(0, 1), ("misses", "percent"), "s0")


def draw_false_breakdown(rows: Sequence[Breakdown]) -> str:
    """Draw the false wakes per hour of each group with intervals, the highest rate first."""
    shown = [
        (row.name, row.false_wakes, per_hour(row.false_wakes))
        for row in rows
        if row.false_wakes.exposure
    ]
    across = _per_hour([rate for _, rate, _ in shown])
    return _forest(shown, across, ("false wakes per hour", "plain"), "s1")


def draw_histogram(heights: Histogram, threshold: float) -> str:
    """Draw the histogram of scores in the windows of labelled words, and outside them."""
    bins = len(heights.said)
    most = max((1, *heights.said, *heights.unsaid))
    across, up = Linear(0, 1), Logarithmic(0.7, most * 1.4, 0)
    drawing = SvgChart("histogram of scores, with the word and without", 560, 260)
    drawing.axes(across, up, ("score", "count"), AxisFormat("plain", "plain"))
    width = drawing.inner_width / bins
    for counts, shift, series, about in (
        (heights.unsaid, 0.0, "s1", "steps without the word"),
        (heights.said, 0.5, "s0", "labelled words"),
    ):
        for index, count in enumerate(counts):
            if count:
                top = drawing.y(up.fraction(count))
                corner = (drawing.x(index / bins) + shift * width, top)
                size = (width / 2 - 0.3, drawing.y(0) - top)
                text = f"{index / bins:.2f} to {(index + 1) / bins:.2f}: {count:,} {about}"
                drawing.box(corner, size, f"bar {series}", text)
    place = drawing.x(across.fraction(threshold))
    drawing.line((place, drawing.y(0)), (place, drawing.y(1)), "threshold", "threshold")
    return drawing.svg()


def draw_timeline(events: Sequence[DetectionEvent], lengths_s: dict[str, float]) -> str:
    """Draw the times of false wakes, in a lane for each item that has any.

    Args:
        events: events of any kind; only false wakes are drawn.
        lengths_s: length of each item in seconds, by name; that of its lane.
    """
    lanes: dict[str, list[DetectionEvent]] = {}
    for event in events:
        if event.kind is EventKind.FALSE_WAKE:
            lanes.setdefault(event.item, []).append(event)
    most = sorted(lanes, key=lambda item: (-len(lanes[item]), item))[:MOST_LANES]
    longest = max([1.0, *(lengths_s.get(event.item, event.at_s) for event in events)])
    drawing = SvgChart("times of false wakes in each recording", 1000, 56 + _LANE * len(most))
    drawing.left, drawing.top = 230, 8
    across = Linear(0, longest)
    for value in _clock_ticks(longest):
        place = drawing.x(across.fraction(value))
        drawing.line((place, drawing.y(0)), (place, drawing.y(1)), "grid")
        drawing.text((place, drawing.y(0) + 16), format_value(value, "clock"), "tick middle")
    drawing.text((drawing.x(0.5), drawing.height - 8), "time in the recording", "name middle")
    for index, item in enumerate(sorted(most)):
        down = drawing.top + (index + 0.5) * _LANE
        end = drawing.x(across.fraction(lengths_s.get(item, longest)))
        drawing.line((drawing.x(0), down), (end, down), "lane")
        drawing.text((drawing.left - 8, down + 4), shorten(item, 34), "tick end")
        for event in lanes[item]:
            about = f"{item} {format_value(event.at_s, 'clock')}: {event.peak:.3f}"
            place = drawing.x(across.fraction(event.at_s))
            drawing.dot((place, down), "point s1", about, 2 + 4 * event.peak)
    return drawing.svg()


def draw_trace(excerpt: Excerpt, threshold: float) -> str:
    """Draw the scores around an event."""
    drawing = SvgChart("scores around the event", 300, 84)
    drawing.left, drawing.right, drawing.top, drawing.bottom = 24, 6, 6, 16
    steps = max(1, len(excerpt.scores) - 1)
    begin_s = excerpt.first_s - excerpt.at_s
    across, up = Linear(begin_s, begin_s + steps * excerpt.step_s), Linear(0, 1)
    for value in (0.0, 1.0):
        drawing.line((drawing.x(0), drawing.y(value)), (drawing.x(1), drawing.y(value)), "grid")
        drawing.text((drawing.left - 4, drawing.y(value) + 4), f"{value:g}", "tick end")
    for second in range(math.ceil(across.low), math.floor(across.high) + 1):
        place = drawing.x(across.fraction(second))
        drawing.text(
            (place, drawing.height - 2), f"{second:+d} s" if second else "0", "tick middle"
        )
    level = drawing.y(up.fraction(threshold))
    drawing.line((drawing.x(0), level), (drawing.x(1), level), "threshold", "threshold")
    places = [
        (
            drawing.x(across.fraction(begin_s + index * excerpt.step_s)),
            drawing.y(up.fraction(score)),
        )
        for index, score in enumerate(excerpt.scores)
    ]
    if places:
        floor = [(places[-1][0], drawing.y(0)), (places[0][0], drawing.y(0))]
        drawing.path([*places, *floor], "band s1", closed=True)
    drawing.path(places, "curve s1")
    return drawing.svg()


def _forest(
    rows: list[tuple[str, Rate, str]], across: Scale, axis: tuple[str, str], series: str
) -> str:
    """Draw a forest plot: rates as dots with intervals.

    Args:
        rows: name, rate, and the rate as text.
        across: horizontal scale.
        axis: name of the axis, and format of its values.
        series: class of the colour.
    """
    rows = sorted(rows, key=lambda row: (-_value(row[1].value), -row[1].exposure, row[0]))
    rows = rows[:MOST_ROWS]
    drawing = SvgChart(f"{axis[0]} with intervals", 560, 58 + _ROW * len(rows))
    drawing.left, drawing.top = 172, 6
    for value in across.ticks():
        place = drawing.x(across.fraction(value))
        drawing.line((place, drawing.y(0)), (place, drawing.y(1)), "grid")
        drawing.text((place, drawing.y(0) + 16), format_value(value, axis[1]), "tick middle")
    drawing.text((drawing.x(0.5), drawing.height - 8), axis[0], "name middle")
    for index, (name, rate, words) in enumerate(rows):
        down = drawing.top + (index + 0.5) * _ROW
        drawing.text((drawing.left - 8, down + 4), shorten(name), "tick end")
        begin, end = (drawing.x(across.fraction(_value(bound))) for bound in (rate.low, rate.high))
        drawing.line((begin, down), (end, down), f"whisker {series}")
        about = f"{name}: {words}, {rate.count:g} of {rate.exposure:.4g}"
        drawing.dot(
            (drawing.x(across.fraction(_value(rate.value))), down), f"point {series}", about
        )
    return drawing.svg()


def _drop_redundant(points: Sequence[Point]) -> list[Point]:
    """Remove points between equal neighbours: a curve has up to a thousand thresholds."""
    ordered = sorted(points, key=lambda point: point.threshold)
    return [
        point
        for index, point in enumerate(ordered)
        if index in {0, len(ordered) - 1}
        or not _has_equal_rates(ordered[index - 1], point)
        or not _has_equal_rates(point, ordered[index + 1])
    ]


def _has_equal_rates(first: Point, second: Point) -> bool:
    return first.misses == second.misses and first.false_wakes == second.false_wakes


def _per_hour(rates: Sequence[Rate]) -> Logarithmic:
    """Return a logarithmic scale for the rates, with a place for 0."""
    seen = [bound for rate in rates for bound in (rate.value, rate.high) if bound]
    low, high = min(seen, default=0.1), max(seen, default=10.0)
    lowest = max(_LOWEST_PER_HOUR, 10.0 ** math.floor(math.log10(low)))
    return Logarithmic(lowest, max(high * 1.05, lowest * 10))


def _value(value: float | None) -> float:
    return value or 0.0


def _clock_ticks(longest_s: float) -> list[float]:
    """Return round times in seconds, up to ``longest_s``."""
    steps = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if longest_s / step <= 8), 86400)  # noqa: PLR2004 - at most nine labels
    return [float(at) for at in range(0, math.floor(longest_s) + 1, step)]
