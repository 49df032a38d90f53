"""Draw the wiring of the mute switch: ``python -m firmware.mute.wiring`` writes the SVG files.

They are in docs/guides beside the page that shows them; a test draws them again and compares bytes.
"""

import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

import schemdraw
from schemdraw import elements as parts

Point = tuple[float, float]
Align = Literal["left", "center", "right"]

HERE: Final = Path(__file__).resolve().parent
DOCS: Final = HERE.parents[1] / "docs" / "guides"

_SMALL: Final = 11
_RED: Final = "#b00020"
_GREY: Final = "#666666"


class Pole(NamedTuple):
    """One pole of the switch: its contacts."""

    common: Point
    live: Point
    mute: Point | None


class Sheet:
    """A drawing with x to the right and y up, and its connections as data for the test."""

    def __init__(self) -> None:
        self.wires: list[tuple[Point, ...]] = []
        self.fitted: dict[str, tuple[Point, Point]] = {}
        self.values: dict[str, str] = {}
        self.dots: list[Point] = []
        self.grounds: list[Point] = []
        self.poles: list[Pole] = []
        self.ends: dict[str, Point] = {}
        schemdraw.use("svg")
        schemdraw.svgconfig.text = "text"
        self._drawing = schemdraw.Drawing(show=False)
        self._drawing.config(unit=2, fontsize=13, font="sans-serif", bgcolor="white", lw=1.6)

    def svg(self) -> str:
        """Return the SVG text, without the trailing bytes that differ between machines."""
        return str(self._drawing.get_imagedata("svg").decode("utf-8")).rstrip() + "\n"

    def wire(self, *points: Point, style: str = "-", color: str = "black") -> None:
        """Draw a line through points. Lines in grey connect nothing."""
        if color == "black":
            self.wires.append(points)
        for start, end in pairwise(points):
            self._drawing.add(parts.Line().at(start).to(end).linestyle(style).color(color))

    def part(self, kind: type[parts.Element2Term], start: Point, end: Point, label: str) -> None:
        """Put a part between two points, with its name above or to the right of it."""
        name, _, self.values[name] = label.partition(" ")
        self.fitted[name] = (start, end)
        side = "top" if start[1] == end[1] or kind is parts.LED else "bottom"
        self._drawing.add(kind().at(start).to(end).label(label, side, fontsize=_SMALL))

    def dot(self, *points: Point) -> None:
        """Mark that wires are joined."""
        self.dots += points
        for point in points:
            self._drawing.add(parts.Dot().at(point))

    def ground(self, *points: Point) -> None:
        """Put ground below points."""
        self.grounds += points
        for point in points:
            self._drawing.add(parts.Ground().at(point))

    def text(self, at: Point, text: str, *, align: Align = "left", color: str = "black") -> None:
        """Write text beside a point."""
        self._drawing.add(
            parts.Label()
            .at(at)
            .label(text, fontsize=_SMALL, halign=align, valign="center", ofst=0)
            .color(color)
        )

    def box(self, low: Point, high: Point, title: str) -> None:
        """Draw a board, with its name above."""
        (left, bottom), (right, top) = low, high
        corners = (low, (right, bottom), high, (left, top), low)
        for start, end in pairwise(corners):
            self._drawing.add(parts.Line().at(start).to(end))
        self._drawing.add(
            parts.Label().at(((left + right) / 2, top + 0.45)).label(title, valign="center", ofst=0)
        )

    def pins(self, x: float, by_height: Mapping[float, str], *, is_left_of_wire: bool) -> None:
        """Write the names of a board's pins inside its edge."""
        for y, name in by_height.items():
            end, _, is_of_the_board = name.partition(",")
            self.ends[end] = (x, y)
            if is_of_the_board and end.endswith("GND"):
                self.grounds.append((x, y))
            beside = (x - 0.2, y) if is_left_of_wire else (x + 0.2, y)
            self.text(beside, name, align="right" if is_left_of_wire else "left")

    def pole(self, common: Point, live: Point, mute: Point | None, name: str) -> None:
        """Draw one pole of the switch, standing at LIVE."""
        self.poles.append(Pole(common, live, mute))
        for contact in self.poles[-1]:
            if contact is not None:
                self._drawing.add(parts.Dot(open=True).at(contact))
        self._drawing.add(parts.Line().at(common).to(live))
        # Names stand on the outer side of the contacts.
        (x, y), (live_x, live_y) = common, live
        side = 0.15 if live_x > x else -0.15
        self.text((live_x + side, live_y + 0.35), "LIVE", align="left" if side > 0 else "right")
        if mute is not None:
            at = (mute[0] + side, mute[1] + 0.35)
            self.text(at, "MUTE", align="left" if side > 0 else "right", color=_RED)
        self.text((x, y - 0.55), name, align="center", color=_GREY)


def i2s() -> Sheet:
    """Draw the wiring of an I2S MEMS microphone."""
    sheet = Sheet()
    sheet.box((0, -3.4), (4, 13), "Raspberry Pi header")
    pins = {12.0: "3V3, pin 1", 8.3: "GPIO 27, pin 13", 5.0: "GPIO 20, pin 38"}
    pins |= {1.5: "GPIO 18, pin 12", 0.2: "GPIO 19, pin 35", -2.6: "GND, pin 39"}
    sheet.pins(4, pins, is_left_of_wire=True)
    sheet.box((24.5, -3.4), (27.5, 13), "I2S microphone")
    names = {11.25: "VDD", 5.75: "SD", 1.5: "SCK", 0.2: "WS", -1.2: "L/R", -2.6: "GND"}
    sheet.pins(24.5, names, is_left_of_wire=False)

    # Pole A: the supply, or ground.
    sheet.part(parts.Resistor, (5.6, 12), (8.2, 12), "R1 10 Ω")
    sheet.wire((4, 12), (5.6, 12))
    sheet.wire((8.2, 12), (10.5, 12))
    sheet.pole((13, 11.25), (10.5, 12), (10.5, 10.5), "pole A")
    sheet.wire((10.5, 10.5), (8.9, 10.5))
    sheet.ground((8.9, 10.5))
    sheet.wire((13, 11.25), (24.5, 11.25))
    sheet.text((22.4, 11.6), "MIC_VDD", color=_GREY)

    # Parts on the microphone's supply.
    sheet.wire((14.3, 11.25), (14.3, 8.3), (9.4, 8.3))
    sheet.part(parts.Resistor, (9.4, 8.3), (6.8, 8.3), "R3 10 kΩ")
    sheet.wire((6.8, 8.3), (4, 8.3))
    sheet.text((5.0, 7.75), "sense: high is live", color=_GREY)
    sheet.wire((5, 12), (5, 15.6), (15.6, 15.6))
    sheet.part(parts.Resistor, (15.6, 15.6), (15.6, 13.5), "R4 1 kΩ")
    sheet.part(parts.LED, (15.6, 13.5), (15.6, 11.25), "D1 red: MUTED")
    sheet.part(parts.Resistor, (17.4, 11.25), (17.4, 9.3), "R5 2.2 kΩ")
    sheet.part(parts.LED, (17.4, 9.3), (17.4, 7.4), "D2 white: LIVE")
    sheet.part(parts.Resistor, (19.7, 11.25), (19.7, 9.4), "R6 4.7 kΩ")
    sheet.part(parts.Capacitor, (22.0, 11.25), (22.0, 9.4), "C1 100 nF")
    sheet.ground((17.4, 7.4), (19.7, 9.4), (22.0, 9.4))
    sheet.dot((5, 12), (14.3, 11.25), (15.6, 11.25), (17.4, 11.25), (19.7, 11.25), (22.0, 11.25))

    # Pole B: the data, or ground.
    sheet.wire((4, 5), (4.6, 5))
    sheet.part(parts.Resistor, (4.6, 5), (7.0, 5), "R2 470 Ω")
    sheet.wire((7.0, 5), (10.5, 5))
    sheet.part(parts.Resistor, (8.4, 5), (8.4, 3.2), "R7 100 kΩ")
    sheet.ground((8.4, 3.2))
    sheet.dot((8.4, 5))
    sheet.pole((10.5, 5), (13, 5.75), (13, 4.25), "pole B")
    sheet.wire((13, 5.75), (24.5, 5.75))
    sheet.wire((13, 4.25), (15, 4.25))
    sheet.ground((15, 4.25))
    sheet.wire((11.75, 11.6), (11.75, 5.4), style="--", color=_GREY)
    sheet.text((11.95, 6.9), "S1: one lever", color=_GREY)

    # The clocks, and ground.
    for y, name in ((1.5, "R8 1 kΩ"), (0.2, "R9 1 kΩ")):
        sheet.wire((4, y), (16, y))
        sheet.part(parts.Resistor, (16, y), (18.4, y), name)
        sheet.wire((18.4, y), (24.5, y))
    sheet.wire((4, -2.6), (24.5, -2.6))
    sheet.wire((24.5, -1.2), (23.4, -1.2), (23.4, -2.6))
    sheet.dot((23.4, -2.6))
    return sheet


def usb() -> Sheet:
    """Draw the wiring of a USB microphone."""
    sheet = Sheet()
    sheet.box((0, -2), (4, 10), "Raspberry Pi")
    pins = {9.0: "USB 5 V, red", 6.5: "USB D+, green", 5.0: "USB D-, white", 3.5: "USB GND, black"}
    sheet.pins(4, pins | {1.0: "GPIO 27, pin 13", -1.2: "GND, pin 14"}, is_left_of_wire=True)
    sheet.box((18, 2.5), (21.5, 10), "USB microphone")
    names = {9.0: "5 V", 6.5: "D+", 5.0: "D-", 3.5: "GND"}
    sheet.pins(18, names, is_left_of_wire=False)

    sheet.wire((4, 9), (7, 9))
    sheet.pole((9.5, 8.25), (7, 9), (7, 7.7), "pole A")
    sheet.wire((9.5, 8.25), (10.5, 8.25), (10.5, 9), (18, 9))
    sheet.wire((4, 6.5), (7, 6.5))
    sheet.pole((9.5, 5.9), (7, 6.5), None, "pole B")
    sheet.wire((9.5, 5.9), (10.5, 5.9), (10.5, 6.5), (18, 6.5))
    sheet.wire((8.25, 8.6), (8.25, 6.2), style="--", color=_GREY)
    sheet.wire((4, 5), (18, 5))
    sheet.wire((4, 3.5), (18, 3.5))

    sheet.part(parts.Resistor, (14, 9), (14, 7.2), "R1 10 kΩ")
    sheet.wire((14, 7.2), (14, 1))
    sheet.wire((14, 1), (4, 1))
    sheet.text((5, 1.4), "sense: high is live", color=_GREY)
    sheet.part(parts.Resistor, (14, 1), (14, -1.2), "R2 15 kΩ")
    sheet.wire((14, -1.2), (4, -1.2))
    sheet.dot((14, 9), (14, 1))
    return sheet


def main() -> int:
    """Write the drawings."""
    for name, draw in DRAWINGS.items():
        (DOCS / name).write_text(draw().svg(), "utf-8")
    return 0


DRAWINGS: Final = {"wiring-i2s.svg": i2s, "wiring-usb.svg": usb}


if __name__ == "__main__":
    sys.exit(main())
