"""The pictures of scores: how high they were, where they woke, how they rose around it. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.result import Excerpt, Histogram
from listener.evaluate.report.drawing import (
    AxisFormat,
    Linear,
    Logarithmic,
    SvgChart,
    format_value,
    shorten,
)

MOST_LANES: Final = 40
"""Items with the most false wakes that the time line shows."""

_LANE: Final = 20.0


def draw_histogram(heights: Histogram, threshold: float) -> str:
    """Draw how high scores were where the word was said, and where it was not."""
    bins = len(heights.said)
    most = max((1, *heights.said, *heights.unsaid))
    across, up = Linear(0, 1), Logarithmic(0.7, most * 1.4, 0)
    drawing = SvgChart("how often each score was given, with the word and without", 560, 260)
    drawing.axes(across, up, ("score", "count"), AxisFormat("plain", "plain"))
    width = drawing.inner_width / bins
    for counts, shift, series, about in (
        (heights.unsaid, 0.0, "s1", "steps without the word"),
        (heights.said, 0.5, "s0", "words said"),
    ):
        for index, count in enumerate(counts):
            if count:
                top = drawing.y(up.part(count))
                corner = (drawing.x(index / bins) + shift * width, top)
                size = (width / 2 - 0.3, drawing.y(0) - top)
                text = f"{index / bins:.2f} to {(index + 1) / bins:.2f}: {count:,} {about}"
                drawing.box(corner, size, f"bar {series}", text)
    place = drawing.x(across.part(threshold))
    drawing.line((place, drawing.y(0)), (place, drawing.y(1)), "threshold", "the threshold")
    return drawing.svg()


def draw_timeline(events: Sequence[DetectionEvent], lengths_s: dict[str, float]) -> str:
    """Draw where false wakes stand, a lane for each item that has some.

    Args:
        events: of any kind; only false wakes are drawn.
        lengths_s: of items, by name; a lane is as long as its item.
    """
    lanes: dict[str, list[DetectionEvent]] = {}
    for event in events:
        if event.kind is EventKind.FALSE_WAKE:
            lanes.setdefault(event.item, []).append(event)
    most = sorted(lanes, key=lambda item: (-len(lanes[item]), item))[:MOST_LANES]
    longest = max([1.0, *(lengths_s.get(event.item, event.at_s) for event in events)])
    drawing = SvgChart("where in each recording it woke", 1000, 56 + _LANE * len(most))
    drawing.left, drawing.top = 230, 8
    across = Linear(0, longest)
    for value in _clock_ticks(longest):
        place = drawing.x(across.part(value))
        drawing.line((place, drawing.y(0)), (place, drawing.y(1)), "grid")
        drawing.text((place, drawing.y(0) + 16), format_value(value, "clock"), "tick middle")
    drawing.text((drawing.x(0.5), drawing.height - 8), "time in the recording", "name middle")
    for index, item in enumerate(sorted(most)):
        down = drawing.top + (index + 0.5) * _LANE
        end = drawing.x(across.part(lengths_s.get(item, longest)))
        drawing.line((drawing.x(0), down), (end, down), "lane")
        drawing.text((drawing.left - 8, down + 4), shorten(item, 34), "tick end")
        for event in lanes[item]:
            about = f"{item} {format_value(event.at_s, 'clock')}: {event.peak:.3f}"
            place = drawing.x(across.part(event.at_s))
            drawing.dot((place, down), "point s1", about, 2 + 4 * event.peak)
    return drawing.svg()


def draw_trace(excerpt: Excerpt, threshold: float) -> str:
    """Draw the scores around a false wake."""
    drawing = SvgChart("the scores around it", 300, 84)
    drawing.left, drawing.right, drawing.top, drawing.bottom = 24, 6, 6, 16
    steps = max(1, len(excerpt.scores) - 1)
    begin_s = excerpt.first_s - excerpt.at_s
    across, up = Linear(begin_s, begin_s + steps * excerpt.step_s), Linear(0, 1)
    for value in (0.0, 1.0):
        drawing.line((drawing.x(0), drawing.y(value)), (drawing.x(1), drawing.y(value)), "grid")
        drawing.text((drawing.left - 4, drawing.y(value) + 4), f"{value:g}", "tick end")
    for second in range(math.ceil(across.low), math.floor(across.high) + 1):
        place = drawing.x(across.part(second))
        drawing.text(
            (place, drawing.height - 2), f"{second:+d} s" if second else "0", "tick middle"
        )
    level = drawing.y(up.part(threshold))
    drawing.line((drawing.x(0), level), (drawing.x(1), level), "threshold", "the threshold")
    places = [
        (drawing.x(across.part(begin_s + index * excerpt.step_s)), drawing.y(up.part(score)))
        for index, score in enumerate(excerpt.scores)
    ]
    if places:
        floor = [(places[-1][0], drawing.y(0)), (places[0][0], drawing.y(0))]
        drawing.path([*places, *floor], "band s1", closed=True)
    drawing.path(places, "curve s1")
    return drawing.svg()


def _clock_ticks(longest_s: float) -> list[float]:
    """Return round times up to ``longest_s``."""
    steps = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if longest_s / step <= 8), 86400)  # noqa: PLR2004 - what fits
    return [float(at) for at in range(0, math.floor(longest_s) + 1, step)]
