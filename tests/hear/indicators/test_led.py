"""Tests of the LED patterns and failures, and of the APA102 frames written to a pipe."""

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.hear.indicators.led import (
    DARK,
    PATTERNS,
    RETRY_S,
    SET_MODE,
    SET_SPEED,
    Colour,
    NoLamp,
    PatternLamp,
    encode_frame,
    open_row,
)

State = Literal["idle", "hearing", "muted", "fault"]
TURN_S = 0.08


class FakeLight:
    """A light that records the colours and can fail."""

    def __init__(self) -> None:
        self.shown: list[Colour] = []
        self.is_broken = False
        self.is_closed = False

    def light(self, colour: Colour) -> None:
        if self.is_broken:
            raise OSError(19, "No such device")
        self.shown.append(colour)

    def close(self) -> None:
        self.is_closed = True


class Bench:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.light = FakeLight()
        self.opened = 0
        self.is_absent = False
        self.lamp = PatternLamp(self._open, lambda: self.now_s)

    def _open(self) -> FakeLight:
        self.opened += 1
        if self.is_absent:
            raise Unavailable("cannot open /dev/spidev0.1: No such file or directory")
        self.light.is_closed = False
        return self.light

    def show(self, state: State, seconds: float) -> list[Colour]:
        """Show a state for some seconds, turn by turn; return the colours written."""
        before = len(self.light.shown)
        for _ in range(round(seconds / TURN_S)):
            self.lamp.show(state)
            self.now_s += TURN_S
        return self.light.shown[before:]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.lamp.close()


def test_steady_state_is_written_once(bench: Bench) -> None:
    assert bench.show("idle", 10) == [DARK]
    assert bench.show("hearing", 10) == [PATTERNS["hearing"].colour]
    assert bench.show("idle", 10) == [DARK]


def test_muted_flashes_every_three_seconds(bench: Bench) -> None:
    shown = bench.show("muted", 30)

    assert shown == [PATTERNS["muted"].colour, DARK] * 10


def test_fault_blinks_quickly(bench: Bench) -> None:
    shown = bench.show("fault", 4.8)

    assert 16 <= len(shown) <= 22
    assert set(shown) == {PATTERNS["fault"].colour, DARK}


def test_pattern_starts_lit(bench: Bench) -> None:
    bench.show("idle", 1.7)

    assert bench.show("muted", TURN_S) == [PATTERNS["muted"].colour]


def test_rhythm_alone_identifies_every_state() -> None:
    rhythms = {
        state: tuple(pattern.at(turn * TURN_S) != DARK for turn in range(100))
        for state, pattern in PATTERNS.items()
    }

    assert len(set(rhythms.values())) == len(rhythms)


def test_missing_lamp_is_logged_once_per_state_and_retried(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.is_absent = True
    bench.show("idle", 1)
    bench.show("muted", 20)

    logged = [(record.levelno, record.message) for record in caplog.records]
    assert logged == [
        (
            logging.WARNING,
            "the lamp cannot show 'idle': cannot open /dev/spidev0.1: No such file or directory",
        ),
        (logging.ERROR, "the lamp cannot show 'muted'"),
    ]
    assert bench.opened <= 21 / RETRY_S + 1
    bench.is_absent = False

    assert PATTERNS["muted"].colour in bench.show("muted", 2 * RETRY_S)


def test_failed_lamp_is_closed_and_reopened(bench: Bench) -> None:
    bench.show("idle", 1)
    bench.light.is_broken = True
    bench.show("fault", 1)
    assert bench.light.is_closed
    bench.light.is_broken = False

    bench.show("hearing", 2 * RETRY_S)

    assert bench.light.shown[-1] == PATTERNS["hearing"].colour
    assert bench.opened == 2


def test_close_turns_the_lamp_off(bench: Bench) -> None:
    bench.show("hearing", 1)

    bench.lamp.close()

    assert bench.light.shown[-1] == DARK
    assert bench.light.is_closed


def test_failed_lamp_is_closed_all_the_same(bench: Bench) -> None:
    bench.show("hearing", 1)
    bench.light.is_broken = True

    bench.lamp.close()

    assert bench.light.is_closed


def test_no_lamp_does_nothing() -> None:
    lamp = NoLamp()

    lamp.show("fault")
    lamp.close()


channel_values = st.integers(0, 255)


def test_frame_of_three_blue_leds() -> None:
    assert encode_frame((0, 0, 255), 3, 2) == bytes.fromhex(
        "00000000 e2ff0000 e2ff0000 e2ff0000 0000000000"
    )


@given(
    st.tuples(channel_values, channel_values, channel_values),
    st.integers(1, 64),
    st.integers(0, 31),
)
def test_every_led_gets_the_colour_and_enough_clocks(
    colour: tuple[int, int, int], leds: int, brightness: int
) -> None:
    red, green, blue = colour

    frame = encode_frame(colour, leds, brightness)

    assert frame[:4] == bytes(4)
    assert frame[4 : 4 + 4 * leds] == leds * bytes((0xE0 + brightness, blue, green, red))
    end = frame[4 + 4 * leds :]
    assert not any(end), "a longer row stays dark"
    assert len(end) * 8 >= 32 + leds / 2


def test_row_is_configured_written_and_closed(tmp_path: Path) -> None:
    bus = tmp_path / "spidev0.1"
    os.mkfifo(bus)
    reader = os.open(bus, os.O_RDONLY | os.O_NONBLOCK)
    requests: list[tuple[int, bytes]] = []

    row = open_row(str(bus), 2, 5, lambda _, number, data: requests.append((number, data)))
    row.light((255, 80, 0))
    data = os.read(reader, 100)
    row.close()

    assert requests == [(SET_MODE, b"\0"), (SET_SPEED, (1_000_000).to_bytes(4, "little"))]
    assert data == encode_frame((255, 80, 0), 2, 5)
    os.close(reader)


def test_regular_file_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_bytes(b"precious")

    with pytest.raises(Unavailable, match="is not an SPI device"):
        open_row(str(file), 3, 2)

    assert file.read_bytes() == b"precious"


def test_missing_bus_is_reported() -> None:
    with pytest.raises(Unavailable, match="cannot open /dev/spidev9"):
        open_row("/dev/spidev9.9", 3, 2)


def test_removed_bus_is_an_error(tmp_path: Path) -> None:
    bus = tmp_path / "spidev0.1"
    os.mkfifo(bus)
    reader = os.open(bus, os.O_RDONLY | os.O_NONBLOCK)
    row = open_row(str(bus), 2, 5, lambda *_: None)
    os.close(reader)

    with pytest.raises(OSError, match="Broken pipe") as caught:
        row.light((0, 0, 0))

    assert caught.value.errno == errno.EPIPE
    row.close()
