"""Charts in SVG: scales, axes and shapes. Pure.

Elements are built as a tree, so that no text can become markup. Colours, line styles and sizes of
text come from a style sheet by class name: on the page from its own, for light and dark themes and
for narrow screens; in a file of its own from ``standalone``. Coordinates have one decimal: the same
numbers give the same bytes.

A series is told by three signs, so that print without colour and readers without colour vision
separate them: its colour, its line style, and the shape of its marker. The first three colours are
the blue, vermilion and bluish green of Okabe and Ito (2008), darkened for contrast on white.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from xml.etree import ElementTree as ET

from scipy import special

Place = tuple[float, float]

_LOG_TICKS: Final = (1, 2, 5)
_MOST_TICKS: Final = 7
_LARGEST_TEXT: Final = 13.0
"""Largest size of text that a style sheet uses, in user units: on the narrowest screens."""
_LETTER: Final = 0.6
"""Width of a letter relative to the size of text, an upper estimate for digits and names."""
_LABEL_GAP: Final = 6.0
"""Least distance of two labels of an axis, in user units."""
_NORMAL_TICKS: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
_SHARES: Final = (*_NORMAL_TICKS, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)

SERIES: Final = 6
"""Number of series that a style sheet tells apart; further ones repeat."""
DASHES: Final = ("", "7 3", "2 2.5", "9 3 2 3", "12 4", "5 2 1 2 1 2")
"""Line style of each series, as ``stroke-dasharray`` in user units; empty: solid."""
COLOURS: Final = ("#0060a0", "#b84a00", "#007a5a", "#7a3fb5", "#a3195b", "#5f6b00")
"""Colour of each series on white."""
_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
LEGEND_ROW: Final = 16.0
"""Height of a row of the legend, in user units."""
LABEL_LETTERS: Final = 44
"""Letters of a label over the width of a chart of 360 units, at the largest size of text."""
_SHAPES: Final = (
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    ((0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
    ((-0.5, -1.2), (0.5, -1.2), (1.2, 0), (0.5, 1.2), (-0.5, 1.2), (-1.2, 0)),
)
"""Corners of the markers after the circle, in units of their radius."""
FONTS: Final = (
    "'DejaVu Sans','Liberation Sans','Noto Sans','Open Sans',Ubuntu,Cantarell,FreeSans,"
    "Helvetica,Arial,sans-serif"
)
"""Font families of a figure's file, the first of which the machine has is taken."""
_FILE_STYLE: Final = (
    "text{font-size:9px;fill:#222;"
    f"font-family:{FONTS}}}"
    ".middle{text-anchor:middle}.end{text-anchor:end}"
    ".grid{stroke:#dcdcdc;stroke-width:.6}.axis{stroke:#555;stroke-width:.8}"
    ".lane{stroke:#dcdcdc;stroke-width:4;stroke-linecap:round}"
    ".curve,.sample{fill:none;stroke-width:1.4;stroke-linejoin:round}"
    ".under{stroke-width:3.4}"
    ".band{fill-opacity:.12;stroke:none}"
    ".whisker{stroke-width:1.2;stroke-opacity:.75;stroke-linecap:round}"
    ".point,.mark{stroke:#fff;stroke-width:.8}"
    ".threshold{stroke:#222;stroke-width:.9;stroke-dasharray:4 3}"
)
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear scale."""

    low: float
    high: float

    def fraction(self, value: float) -> float:
        """Return the position of ``value``, 0 at the low end to 1 at the high end, clamped."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> tuple[float, ...]:
        """Return round values between the ends."""
        rough = (self.high - self.low) / (_MOST_TICKS - 1)
        ten = 10.0 ** math.floor(math.log10(rough))
        step = next(ten * nice for nice in _NICE if ten * nice >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return tuple(round(index * step, 12) for index in range(first, last + 1))


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """A logarithmic scale, with a separate place for 0 at the low end."""

    low: float
    """The smallest value that is not drawn as zero."""
    high: float
    zero_part: float = 0.08
    """Part of the scale for 0; 0 means no such place."""

    def fraction(self, value: float) -> float:
        """Return the position of ``value``, 0 at zero to 1 at the high end, clamped."""
        if value < self.low:
            return 0.0
        along = math.log(value / self.low) / math.log(self.high / self.low)
        return self.zero_part + (1 - self.zero_part) * min(1.0, along)

    def ticks(self) -> tuple[float, ...]:
        """Return 0 and round values."""
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        steps = _LOG_TICKS if last - first <= 2 else (1,)  # noqa: PLR2004 - more would not fit
        values = (step * 10.0**power for power in range(first, last + 1) for step in steps)
        inside = tuple(v for v in values if self.low * 0.999 <= v <= self.high * 1.001)
        return ((0.0,) if self.zero_part else ()) + inside


@dataclass(frozen=True, slots=True)
class NormalDeviate:
    """A scale of normal deviates, as of DET curves, with separate places for 0 and 1.

    The place of a probability is the quantile of the standard normal distribution (Martin et al.,
    "The DET curve in assessment of detection task performance", 1997).
    """

    low: float
    """The smallest probability that is not drawn as 0."""
    high: float
    """The largest probability that is not drawn as 1."""
    trials: float = 1.0
    """Trials of one unit of the values: 3600 for events per hour at one trial a second."""
    zero_part: float = 0.08
    """Part of the scale for 0."""
    one_part: float = 0.08
    """Part of the scale for 1; 0 means no such place."""

    def fraction(self, value: float) -> float:
        """Return the position of ``value``, 0 at zero to 1 at the high end, clamped."""
        share = value / self.trials
        if share < self.low * (1 - 1e-9):
            return 0.0
        if share > self.high * (1 + 1e-9):
            return 1.0
        low, high = special.ndtri(self.low), special.ndtri(self.high)
        along = (special.ndtri(min(max(share, self.low), self.high)) - low) / (high - low)
        return float(self.zero_part + (1 - self.zero_part - self.one_part) * along)

    def ticks(self) -> tuple[float, ...]:
        """Return 0, round values, and the value of probability 1 if it has a place."""
        inside: tuple[float, ...] = _SHARES
        if self.trials != 1:
            powers = range(-4, 5)
            inside = tuple(
                step * 10.0**power / self.trials for power in powers for step in _LOG_TICKS
            )
        shown = tuple(
            round(share * self.trials, 9)
            for share in inside
            if self.low * 0.999 <= share <= self.high * 1.001
        )
        return (0.0, *shown, *((self.trials,) if self.one_part else ()))


class Scale(Protocol):
    """A scale of an axis."""

    def fraction(self, value: float) -> float:
        """Return the position of ``value``, 0 at the low end to 1 at the high end, clamped."""

    def ticks(self) -> tuple[float, ...]:
        """Return the values that the axis marks, rising."""


class SvgChart:
    """A chart under construction. Not thread-safe."""

    def __init__(self, about: str, width: float = 360, height: float = 240) -> None:
        """Create an empty chart.

        Args:
            about: description for screen readers.
            width: width in user units; the page scales the chart.
            height: height in user units.
        """
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 54.0, 12.0, 22.0, 40.0
        self.name_y = height - 7
        """y coordinate of the name of the horizontal axis, to be moved above a legend."""
        self._root = ET.Element(
            "svg",
            {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": about},
        )

    @property
    def inner_width(self) -> float:
        """Width between the margins."""
        return self.width - self.left - self.right

    @property
    def inner_height(self) -> float:
        """Height between the margins."""
        return self.height - self.top - self.bottom

    def x(self, part: float) -> float:
        """Return the x coordinate of a position on the horizontal scale, 0 to 1."""
        return self.left + part * self.inner_width

    def y(self, part: float) -> float:
        """Return the y coordinate of a position on the vertical scale, 0 to 1 from the bottom."""
        return self.top + (1 - part) * self.inner_height

    def axes(self, across: Scale, up: Scale, names: tuple[str, str], formats: "AxisFormat") -> None:
        """Draw grid, ticks and names.

        Args:
            across: horizontal scale.
            up: vertical scale.
            names: names of the horizontal and the vertical axis.
            formats: formats of their values.
        """
        self.horizontal_axis(across, names[0], formats.format_x)
        last = math.inf
        for value in up.ticks():
            place = self.y(up.fraction(value))
            self.line((self.x(0), place), (self.x(1), place), "grid")
            if last - place >= _LARGEST_TEXT:
                self.text((self.x(0) - 5, place + 4), formats.format_y(value), "tick end")
                last = place
        self.line((self.x(0), self.y(0)), (self.x(1), self.y(0)), "axis")
        self.line((self.x(0), self.y(0)), (self.x(0), self.y(1)), "axis")
        # Above the axis and not beside it: turned text would take the room of the tick labels.
        self.text((2, 12), names[1], "name")

    def horizontal_axis(self, scale: Scale, name: str, format_tick: Callable[[float], str]) -> None:
        """Draw the grid of the horizontal axis, its name, and the labels that do not overlap.

        Args:
            scale: horizontal scale.
            name: name of the axis.
            format_tick: returns the label of a value.
        """
        free = -math.inf
        for value in scale.ticks():
            place = self.x(scale.fraction(value))
            self.line((place, self.y(0)), (place, self.y(1)), "grid")
            label = format_tick(value)
            half = len(label) * _LARGEST_TEXT * _LETTER / 2
            if place - half >= free and place + half <= self.width + 2:
                self.text((place, self.y(0) + 14), label, "tick middle")
                free = place + half + _LABEL_GAP
        self.text((self.x(0.5), self.name_y), name, "name middle")

    def legend(self, names: Sequence[str], first_y: float) -> None:
        """Draw a row for each series: its line, its marker, and its name.

        Args:
            names: names of the series in their order.
            first_y: y coordinate of the first row.
        """
        for index, name in enumerate(names):
            down, series = first_y + LEGEND_ROW * index, f"s{index % SERIES}"
            self.line((4, down), (34, down), f"sample {series}")
            self.marker((19, down), index, f"mark {series}")
            self.text((41, down + 4), shorten(name, LABEL_LETTERS - 7), "tick")

    def line(self, begin: Place, end: Place, kind: str, about: str = "") -> None:
        """Draw a straight line."""
        places = zip(("x1", "y1", "x2", "y2"), (*begin, *end), strict=True)
        self._add("line", kind, about, {name: _number(value) for name, value in places})

    def path(self, places: Sequence[Place], kind: str, *, closed: bool = False) -> None:
        """Draw a line through points; without points draw nothing."""
        if not places:
            return
        steps = " L".join(f"{_number(x)} {_number(y)}" for x, y in places)
        self._add("path", kind, "", {"d": f"M{steps}" + ("Z" if closed else "")})

    def box(self, corner: Place, size: Place, kind: str, about: str = "") -> None:
        """Draw a rectangle from its upper left corner."""
        sides = zip(("x", "y", "width", "height"), (*corner, *size), strict=True)
        self._add("rect", kind, about, {name: _number(value) for name, value in sides})

    def dot(self, place: Place, kind: str, about: str = "", radius: float = 4) -> None:
        """Draw a dot with ``about`` as its tooltip."""
        where = {"cx": _number(place[0]), "cy": _number(place[1]), "r": _number(radius)}
        self._add("circle", kind, about, where)

    def marker(
        self, place: Place, index: int, kind: str, about: str = "", radius: float = 4
    ) -> None:
        """Draw the marker of a series: circle, square, triangle, diamond, and two more.

        Args:
            place: centre.
            index: index of the series, from 0.
            kind: classes of the element.
            about: tooltip.
            radius: size from the centre, in user units.
        """
        shape = index % SERIES
        if not shape:
            self.dot(place, kind, about, radius)
            return
        across, down = place
        corners = [(across + x * radius, down + y * radius) for x, y in _SHAPES[shape - 1]]
        steps = " L".join(f"{_number(x)} {_number(y)}" for x, y in corners)
        self._add("path", kind, about, {"d": f"M{steps}Z"})

    def text(self, place: Place, words: str, kind: str, about: str = "") -> None:
        """Draw text, with ``about`` as its tooltip where it was shortened."""
        element = self._add("text", kind, "", {"x": _number(place[0]), "y": _number(place[1])})
        element.text = clean(words)
        if about and about != words:
            # The tooltip comes first: it is a child, and the text follows it.
            tip = ET.SubElement(element, "title")
            tip.text, tip.tail, element.text = clean(about), element.text, None

    def svg(self) -> str:
        """Return the chart as markup of a page, without a style of its own."""
        return ET.tostring(self._root, encoding="unicode")

    def _add(self, tag: str, kind: str, about: str, where: dict[str, str]) -> ET.Element:
        element = ET.SubElement(self._root, tag, {"class": kind, **where})
        if about:
            ET.SubElement(element, "title").text = clean(about)
        return element


@dataclass(frozen=True, slots=True)
class AxisFormat:
    """Formats of the values of two axes; see ``format_value``."""

    across_form: str
    """``percent``, ``plain`` or ``clock``."""
    up_form: str

    def format_x(self, value: float) -> str:
        """Format a value of the horizontal axis."""
        return format_value(value, self.across_form)

    def format_y(self, value: float) -> str:
        """Format a value of the vertical axis."""
        return format_value(value, self.up_form)


def standalone(svg: str) -> str:
    """Return a chart of ``SvgChart.svg`` as a file of its own: light colours, white background.

    A figure in a column of 88 mm has text of 6.5 points.
    """
    root = ET.fromstring(svg)  # noqa: S314 - markup of SvgChart
    root.set("xmlns", "http://www.w3.org/2000/svg")
    width, height = root.attrib["viewBox"].split()[2:]
    root.set("width", width)
    root.set("height", height)
    style = ET.Element("style")
    style.text = _FILE_STYLE + "".join(
        f".s{index}.curve,.s{index}.sample{{stroke:{colour};stroke-dasharray:{dash or 'none'}}}"
        f".s{index}.whisker{{stroke:{colour}}}"
        f".s{index}.band,.s{index}.bar,.s{index}.point,.s{index}.mark{{fill:{colour}}}"
        for index, (colour, dash) in enumerate(zip(COLOURS, DASHES, strict=True))
    )
    root.insert(0, style)
    paper = ET.Element("rect", {"width": width, "height": height, "fill": "#ffffff"})
    root.insert(1, paper)
    return ET.tostring(root, encoding="unicode") + "\n"


def series_style() -> str:
    """Return the rules of a style sheet that give each series its line style."""
    return " ".join(
        f".s{index}.curve, .s{index}.sample {{ stroke-dasharray: {dash}; }}"
        for index, dash in enumerate(DASHES)
        if dash
    )


def format_value(value: float, form: str) -> str:
    """Format a value on an axis.

    Args:
        value: any number.
        form: ``percent``, ``clock`` for seconds as minutes or hours, or ``plain``.
    """
    if form == "percent":
        return f"{value * 100:.4g} %"
    if form == "clock":
        minutes, seconds = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - no exponents


def step_path(places: Iterable[Place]) -> list[Place]:
    """Return the points with a corner between each two: horizontal first, then vertical."""
    corners: list[Place] = []
    for place in places:
        if corners:
            corners.append((place[0], corners[-1][1]))
        corners.append(place)
    return corners


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def clean(text: str) -> str:
    """Replace characters that a page must not contain by U+FFFD.

    These are control characters, lone surrogates, and marks that change the writing direction.
    """
    return _FORBIDDEN.sub("\ufffd", text)


def shorten(name: str, most: int = 24) -> str:
    """Shorten a long name in its middle: names of files differ at both ends.

    Args:
        name: any text; wide letters of East Asian scripts count twice.
        most: largest number of letters, at least 3.
    """
    if _letters(name) <= most:
        return name
    head, tail = name[: (most - 1) // 2], name[-(most - 1 - (most - 1) // 2) :]
    while _letters(head) + 1 + _letters(tail) > most:
        head, tail = (head[:-1], tail) if _letters(head) > _letters(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def _letters(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
