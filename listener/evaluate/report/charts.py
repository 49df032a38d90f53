"""Charts as SVG: DET curve, thresholds, breakdowns, histogram, timeline, scores. Pure."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    LABEL_LETTERS,
    LEGEND_ROW,
    SERIES,
    AxisFormat,
    Linear,
    Logarithmic,
    NormalDeviate,
    Place,
    Scale,
    SvgChart,
    format_value,
    shorten,
    step_path,
)
from listener.evaluate.report.text import per_hour, percent

MOST_ROWS: Final = 40
"""Speakers or groups that a chart shows, those with the highest rates."""
MOST_LANES: Final = 40
"""Items that the timeline shows, those with the most false wakes."""

TRIALS_PER_HOUR: Final = 3600.0
"""Trials of an hour, where false wakes per hour become a probability: one a second (NIST STD)."""

_LOWEST_PER_HOUR: Final = 0.01
_HIGHEST_SHARE: Final = 0.99
"""The largest probability with a place of its own on a normal-deviate axis; 1 has another."""
_ROW: Final = 32.0
"""Height of a row whose label is above it, in user units."""
_PLOT_HEIGHT: Final = 250.0


def draw_det(words: Sequence[WordResult]) -> str:
    """Draw the DET curve of each engine with the region of both intervals.

    Both axes are normal deviates: misses as a probability, and false wakes per hour as one of one
    trial a second. Curves that coincide have strokes of different widths.

    Args:
        words: results of one or several engines on the same items.
    """
    across = _deviate_per_hour([point.false_wakes for word in words for point in word.curve])
    up = _deviate_share([point.misses for word in words for point in word.curve])
    drawing = _chart_with_legend(
        words, "misses against false wakes per hour at every threshold", _PLOT_HEIGHT
    )
    drawing.axes(across, up, ("false wakes per hour", "misses"), AxisFormat("plain", "percent"))

    def at(false_wakes: float | None, misses: float | None) -> Place:
        return (
            drawing.x(across.fraction(_value(false_wakes))),
            drawing.y(up.fraction(_value(misses))),
        )

    for index, word in enumerate(words):
        corners = surround(_drop_redundant(word.curve))
        drawing.path([at(*corner) for corner in corners], f"band s{index % SERIES}", closed=True)
    for index, word in enumerate(words):
        points = _drop_redundant(word.curve)[::-1]
        line = step_path(at(point.false_wakes.value, point.misses.value) for point in points)
        drawing.path(line, f"curve s{index % SERIES}{_under(words, index)}")
    for index, word in enumerate(words):
        series = f"s{index % SERIES}"
        misses, false = word.misses, word.false_wakes
        drawing.line(at(false.low, misses.value), at(false.high, misses.value), f"whisker {series}")
        drawing.line(at(false.value, misses.low), at(false.value, misses.high), f"whisker {series}")
        about = f"{word.engine} at {word.threshold:.3g}: {percent(misses)}, {per_hour(false)}"
        # A marker that a later one covers is larger, so that its rim is seen.
        hidden = sum((w.misses, w.false_wakes) == (misses, false) for w in words[index + 1 :])
        place = at(false.value, misses.value)
        drawing.marker(place, index, f"point {series}", about, 4 + 2 * hidden)
    return drawing.svg()


def surround(curve: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the region in which the intervals of both rates let a step curve be.

    It contains the rectangle of both intervals at every threshold, and the steps between them. At
    the strict end the outline goes over the corner of the fewest false wakes and the most misses,
    at the lax end over that of the most false wakes and the fewest misses. Where counts are not
    monotone in the threshold, the nearest outline that is monotone is taken.

    Args:
        curve: points of the curve, in any order.

    Returns:
        Corners of the polygon: false wakes per hour, and misses as a share.
    """
    points = sorted(curve, key=lambda point: -point.threshold)
    if not points:
        return []
    most_false = list(itertools.accumulate((_value(p.false_wakes.high) for p in points), max))
    most_missed = _from_end((_value(p.misses.high) for p in points), max)
    least_false = _from_end((_value(p.false_wakes.low) for p in points), min)
    least_missed = list(itertools.accumulate((_value(p.misses.low) for p in points), min))
    outer = step_path(zip(most_false, most_missed, strict=True))
    inner = step_path(zip(least_false, least_missed, strict=True))
    strict_end, lax_end = (least_false[0], most_missed[0]), (most_false[-1], least_missed[-1])
    return [strict_end, *outer, lax_end, *reversed(inner)]


def coinciding(words: Sequence[WordResult]) -> list[tuple[str, ...]]:
    """Return the names of the engines whose DET curves are the same, a group for each such curve.

    Args:
        words: results of several engines on the same items.
    """
    groups: dict[tuple[Place, ...], list[str]] = {}
    for word in words:
        groups.setdefault(_outline(word), []).append(word.engine)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def draw_thresholds(words: Sequence[WordResult]) -> str:
    """Draw false wakes per hour against the threshold, with intervals."""
    points = [point for word in words for point in word.curve]
    up = _per_hour([point.false_wakes for point in points])
    across = Linear(0, 1)
    drawing = _chart_with_legend(words, "false wakes per hour against the threshold", 230)
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
        drawing.path(line, f"curve {series}{_under(words, index)}")
        about = f"{word.engine} at {word.threshold:.3g}: {per_hour(word.false_wakes)}"
        drawing.marker(
            at(word.threshold, word.false_wakes.value), index, f"point {series}", about, 4
        )
    return drawing.svg()


def draw_breakdown(rows: Sequence[Breakdown]) -> str:
    """Draw the misses of each speaker or group with intervals, the highest rate first."""
    shown = [(row.name, row.misses, percent(row.misses)) for row in rows if row.misses.exposure]
    return draw_forest(shown, Linear(0, 1), ("misses", "percent"), "s0")


def draw_false_breakdown(rows: Sequence[Breakdown]) -> str:
    """Draw the false wakes per hour of each group with intervals, the highest rate first."""
    shown = [
        (row.name, row.false_wakes, per_hour(row.false_wakes))
        for row in rows
        if row.false_wakes.exposure
    ]
    across = _per_hour([rate for _, rate, _ in shown])
    return draw_forest(shown, across, ("false wakes per hour", "plain"), "s1")


def draw_histogram(heights: Histogram, threshold: float) -> str:
    """Draw the histogram of scores in the windows of labelled words, and outside them."""
    bins = len(heights.said)
    most = max((1, *heights.said, *heights.unsaid))
    across, up = Linear(0, 1), Logarithmic(0.7, most * 1.4, 0)
    drawing = SvgChart("histogram of scores, with the word and without", 360, 200)
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
    drawing = SvgChart("times of false wakes in each recording", 360, 50 + _ROW * len(most))
    drawing.left, drawing.right, drawing.top = 18, 18, 6
    across = Linear(0, longest)
    drawing.horizontal_axis(
        _Ticks(across, tuple(_clock_ticks(longest))),
        "time in the recording",
        lambda value: format_value(value, "clock"),
    )
    for index, item in enumerate(sorted(most)):
        top = drawing.top + index * _ROW
        drawing.text((2, top + 12), shorten(item, LABEL_LETTERS), "tick", item)
        down = top + 23
        end = drawing.x(across.fraction(lengths_s.get(item, longest)))
        drawing.line((drawing.x(0), down), (end, down), "lane")
        for event in lanes[item]:
            about = f"{item} {format_value(event.at_s, 'clock')}: {event.peak:.3f}"
            place = drawing.x(across.fraction(event.at_s))
            drawing.dot((place, down), "point s1", about, 1.5 + 3 * event.peak)
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


def draw_forest(
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
    drawing = SvgChart(f"{axis[0]} with intervals", 360, 50 + _ROW * len(rows))
    # Labels are above their rows: beside them a long name would take the room of the plot.
    drawing.left, drawing.right, drawing.top = 12, 20, 6
    drawing.horizontal_axis(across, axis[0], lambda value: format_value(value, axis[1]))
    for index, (name, rate, words) in enumerate(rows):
        top = drawing.top + index * _ROW
        drawing.text((2, top + 12), shorten(name, LABEL_LETTERS), "tick row", name)
        down = top + 23
        begin, end = (drawing.x(across.fraction(_value(bound))) for bound in (rate.low, rate.high))
        drawing.line((begin, down), (end, down), f"whisker {series}")
        about = f"{name}: {words}, {rate.count:g} of {rate.exposure:.4g}"
        drawing.dot(
            (drawing.x(across.fraction(_value(rate.value))), down), f"point {series}", about, 3.5
        )
    return drawing.svg()


@dataclass(frozen=True, slots=True)
class _Ticks:
    """A linear scale with ticks of its own."""

    scale: Linear
    values: tuple[float, ...]

    def fraction(self, value: float) -> float:
        """Return the position of ``value``, 0 to 1."""
        return self.scale.fraction(value)

    def ticks(self) -> tuple[float, ...]:
        """Return the values."""
        return self.values


def _chart_with_legend(words: Sequence[WordResult], about: str, height: float) -> SvgChart:
    """Return a chart with a legend below it, if there are several engines."""
    rows = len(words) if len(words) > 1 else 0
    drawing = SvgChart(about, 360, height + LEGEND_ROW * rows)
    if rows:
        drawing.legend([word.engine for word in words], height + LEGEND_ROW / 2 - 2)
        drawing.bottom += LEGEND_ROW * rows
        drawing.name_y = height - 7
    return drawing


def _under(words: Sequence[WordResult], index: int) -> str:
    """Return the class of a curve that a later one covers, with a leading space; else nothing."""
    outline = _outline(words[index])
    return " under" if any(_outline(word) == outline for word in words[index + 1 :]) else ""


def _outline(word: WordResult) -> tuple[Place, ...]:
    """Return the steps of the DET curve: without the thresholds, at which engines differ."""
    places: list[Place] = []
    for point in word.curve:
        place = _value(point.false_wakes.value), _value(point.misses.value)
        if not places or places[-1] != place:
            places.append(place)
    return tuple(places)


def _from_end(values: Iterable[float], choose: Callable[[float, float], float]) -> list[float]:
    """Return the running maximum or minimum from the end of ``values``."""
    return list(itertools.accumulate(reversed(list(values)), choose))[::-1]


def _deviate_per_hour(rates: Sequence[Rate]) -> NormalDeviate:
    """Return a normal-deviate scale for rates per hour, with a place for 0."""
    scale = _per_hour(rates)
    high = min(scale.high / TRIALS_PER_HOUR, _HIGHEST_SHARE)
    low = min(scale.low / TRIALS_PER_HOUR, high / 10)
    return NormalDeviate(low, high, TRIALS_PER_HOUR, one_part=0)


def _deviate_share(rates: Sequence[Rate]) -> NormalDeviate:
    """Return a normal-deviate scale for shares, with places for 0 and 1."""
    seen = [share for rate in rates for share in (rate.value, rate.low) if share]
    low = 10.0 ** math.floor(math.log10(min([*seen, 0.1])))
    return NormalDeviate(max(low, 1e-6), _HIGHEST_SHARE)


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
