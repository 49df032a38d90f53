"""Charts in SVG: scales, axes and shapes. Pure.

Elements are built as a tree, so that no text can become markup. Colours come from the page by class
name, for light and dark themes. Coordinates have one decimal: the same numbers give the same bytes.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

Place = tuple[float, float]

_LOG_TICKS: Final = (1, 2, 5)
_MOST_TICKS: Final = 7
_NICE: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
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


Scale = Linear | Logarithmic


class SvgChart:
    """A chart under construction. Not thread-safe."""

    def __init__(self, about: str, width: float = 520, height: float = 320) -> None:
        """Create an empty chart.

        Args:
            about: description for screen readers.
            width: width in user units; the page scales the chart.
            height: height in user units.
        """
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 60.0, 14.0, 14.0, 44.0
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
        for value in across.ticks():
            place = self.x(across.fraction(value))
            self.line((place, self.y(0)), (place, self.y(1)), "grid")
            self.text((place, self.y(0) + 16), formats.format_x(value), "tick middle")
        for value in up.ticks():
            place = self.y(up.fraction(value))
            self.line((self.x(0), place), (self.x(1), place), "grid")
            self.text((self.x(0) - 7, place + 4), formats.format_y(value), "tick end")
        self.line((self.x(0), self.y(0)), (self.x(1), self.y(0)), "axis")
        self.line((self.x(0), self.y(0)), (self.x(0), self.y(1)), "axis")
        self.text((self.x(0.5), self.height - 8), names[0], "name middle")
        name = self.text((12, self.y(0.5)), names[1], "name middle")
        name.set("transform", f"rotate(-90 12 {_number(self.y(0.5))})")

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

    def text(self, place: Place, words: str, kind: str) -> ET.Element:
        """Draw text; return its element."""
        element = self._add("text", kind, "", {"x": _number(place[0]), "y": _number(place[1])})
        element.text = clean(words)
        return element

    def svg(self) -> str:
        """Return the chart as markup."""
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
    """Shorten a long name to its end, where names differ."""
    return name if len(name) <= most else "…" + name[1 - most :]
