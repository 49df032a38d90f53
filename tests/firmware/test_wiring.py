"""The drawings of the mute switch: current, and with the connections that the guide describes."""

from itertools import pairwise
from pathlib import Path

import pytest

from firmware.mute.wiring import DOCS, DRAWINGS, Point, Sheet, i2s, usb

GROUND = "ground"
OVERLAYS = Path(__file__).parents[2] / "firmware" / "mute"


class Nets:
    """Which points are one piece of wire, with the lever in one position."""

    def __init__(self, sheet: Sheet, *, is_live: bool) -> None:
        self._sheet = sheet
        self._joined: dict[object, object] = {}
        for points in sheet.wires:
            for start, end in pairwise(points):
                self._join(start, end)
                for dot in sheet.dots:
                    if between(start, dot, end):
                        self._join(start, dot)
        for point in sheet.grounds:
            self._join(point, GROUND)
        for pole in sheet.poles:
            contact = pole.live if is_live else pole.mute
            if contact is not None:
                self._join(pole.common, contact)

    def is_one(self, *names: object) -> bool:
        """Tell whether pins, contacts or ground are joined by nothing but wire."""
        return len({self._root(self._sheet.ends.get(str(name), name)) for name in names}) == 1

    def across(self, part: str, *names: object) -> bool:
        """Tell whether a part lies between two things."""
        ends = {self._root(end) for end in self._sheet.fitted[part]}
        return ends == {self._root(self._sheet.ends.get(str(name), name)) for name in names}

    def parts_at(self, name: object) -> set[str]:
        """Return the parts that touch a pin."""
        here = self._root(self._sheet.ends.get(str(name), name))
        fitted = self._sheet.fitted.items()
        return {part for part, ends in fitted if here in map(self._root, ends)}

    def _join(self, one: object, other: object) -> None:
        self._joined[self._root(one)] = self._root(other)

    def _root(self, point: object) -> object:
        while (parent := self._joined.get(point, point)) != point:
            point = parent
        return point


def between(start: Point, point: Point, end: Point) -> bool:
    """Tell whether a point lies on a line along one of the axes."""
    low_x, high_x = sorted((start[0], end[0]))
    low_y, high_y = sorted((start[1], end[1]))
    return low_x <= point[0] <= high_x and low_y <= point[1] <= high_y


@pytest.mark.parametrize("name", DRAWINGS)
def test_committed_drawings_equal_their_source(name: str) -> None:
    # python -m firmware.mute.wiring makes them anew.
    assert (DOCS / name).read_bytes() == DRAWINGS[name]().svg().encode()


def test_live_position_connects_supply_and_data() -> None:
    nets = Nets(i2s(), is_live=True)

    assert nets.across("R1", "3V3", "VDD")
    assert nets.across("R2", "GPIO 20", "SD")
    assert not nets.is_one("VDD", GROUND)
    assert not nets.is_one("SD", GROUND)


def test_muted_position_grounds_supply_and_data() -> None:
    nets = Nets(i2s(), is_live=False)

    assert nets.is_one("VDD", GROUND)
    assert nets.across("R2", "GPIO 20", GROUND)
    assert nets.parts_at("SD") == set()
    assert not nets.is_one("3V3", GROUND)
    assert nets.parts_at("3V3") == {"R1", "R4"}


def test_each_pole_alone_cuts_the_microphone() -> None:
    # With the other welded to LIVE: no supply, or no data.
    sheet = i2s()
    supply, data = sheet.poles

    sheet.poles = [supply, data._replace(mute=data.live)]
    assert Nets(sheet, is_live=False).is_one("VDD", GROUND)

    sheet.poles = [supply._replace(mute=supply.live), data]
    welded = Nets(sheet, is_live=False)
    assert welded.parts_at("SD") == set()
    assert welded.across("R2", "GPIO 20", GROUND)


def test_drivable_pins_reach_the_microphone_by_a_resistor() -> None:
    for is_live in (True, False):
        nets = Nets(i2s(), is_live=is_live)

        assert nets.across("R3", "GPIO 27", "VDD")
        assert nets.across("R8", "GPIO 18", "SCK")
        assert nets.across("R9", "GPIO 19", "WS")
        for pin in ("GPIO 27", "GPIO 20", "GPIO 18", "GPIO 19"):
            assert not any(nets.is_one(pin, end) for end in ("VDD", "SD", "SCK", "WS", GROUND))


def test_leds_are_driven_by_the_supply_without_software() -> None:
    for is_live in (True, False):
        nets = Nets(i2s(), is_live=is_live)

        red, white = i2s().fitted["D1"], i2s().fitted["D2"]
        assert nets.across("R4", "3V3", red[0])
        assert nets.is_one(red[1], "VDD")
        assert nets.across("R5", "VDD", white[0])
        assert nets.is_one(white[1], GROUND)


def test_left_slot_is_selected() -> None:
    assert Nets(i2s(), is_live=True).is_one("L/R", "GND", GROUND)


def test_usb_mute_cuts_supply_and_one_data_wire() -> None:
    live, muted = Nets(usb(), is_live=True), Nets(usb(), is_live=False)

    assert live.is_one("USB 5 V", "5 V")
    assert live.is_one("USB D+", "D+")
    assert not muted.is_one("USB 5 V", "5 V")
    assert not muted.is_one("USB D+", "D+")
    assert muted.across("R1", "5 V", "GPIO 27")
    assert muted.across("R2", "GPIO 27", GROUND)


def test_usb_sense_voltage_is_within_the_gpio_range() -> None:
    pull_down = 1 / (1 / 15 + 1 / 50)

    assert 5.25 * 15 / (10 + 15) < 3.3
    assert 4.4 * pull_down / (10 + pull_down) > 2.0


@pytest.mark.parametrize("name", DRAWINGS)
def test_parts_list_equals_the_drawing(name: str) -> None:
    text = (DOCS / "mute-switch.md").read_text("utf-8")
    table = text.split(f"]({name})")[1].split("\n\n| part |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:3]] for row in table.splitlines()[2:]]

    bought = {part: value for parts, value in rows for part in parts.split(", ")}

    assert bought.pop("S1")
    assert bought == DRAWINGS[name]().values


def test_drawing_names_the_pins_of_the_overlays() -> None:
    switch = (OVERLAYS / "earmark-mute.dts").read_text("utf-8")
    sound = (OVERLAYS / "earmark-microphone.dts").read_text("utf-8")

    assert "brcm,pins = <27>" in switch
    assert "brcm,pins = <18 19 20 21>" in sound
    assert {"GPIO 27", "GPIO 18", "GPIO 19", "GPIO 20"} <= i2s().ends.keys()
