"""APA102 LEDs: the bytes on the bus, which here is a pipe."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.hear.signs.apa102 import SET_MODE, SET_SPEED, encode_frame, open_row

bytes_of_light = st.integers(0, 255)


def test_three_leds_in_blue() -> None:
    assert encode_frame((0, 0, 255), 3, 2) == bytes.fromhex(
        "00000000 e2ff0000 e2ff0000 e2ff0000 0000000000"
    )


@given(
    st.tuples(bytes_of_light, bytes_of_light, bytes_of_light),
    st.integers(1, 64),
    st.integers(0, 31),
)
def test_every_led_gets_the_colour_and_enough_clocks(
    colour: tuple[int, int, int], leds: int, brightness: int
) -> None:
    red, green, blue = colour

    sent = encode_frame(colour, leds, brightness)

    assert sent[:4] == bytes(4)
    assert sent[4 : 4 + 4 * leds] == leds * bytes((0xE0 + brightness, blue, green, red))
    end = sent[4 + 4 * leds :]
    assert not any(end), "a longer row stays dark"
    assert len(end) * 8 >= 32 + leds / 2


def test_a_row_is_set_up_written_and_closed(tmp_path: Path) -> None:
    bus = tmp_path / "spidev0.1"
    os.mkfifo(bus)
    got: list[bytes] = []
    reading = os.open(bus, os.O_RDONLY | os.O_NONBLOCK)
    asked: list[tuple[int, bytes]] = []

    row = open_row(str(bus), 2, 5, lambda _, number, data: asked.append((number, data)))
    row.light((255, 80, 0))
    got.append(os.read(reading, 100))
    row.close()

    assert asked == [(SET_MODE, b"\0"), (SET_SPEED, (1_000_000).to_bytes(4, "little"))]
    assert got == [encode_frame((255, 80, 0), 2, 5)]
    os.close(reading)


def test_a_file_is_not_written_into(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_bytes(b"precious")

    with pytest.raises(Unavailable, match="is no SPI device"):
        open_row(str(file), 3, 2)

    assert file.read_bytes() == b"precious"


def test_a_bus_that_is_not_there_is_said() -> None:
    with pytest.raises(Unavailable, match="cannot open /dev/spidev9"):
        open_row("/dev/spidev9.9", 3, 2)


def test_a_bus_that_goes_is_an_error(tmp_path: Path) -> None:
    bus = tmp_path / "spidev0.1"
    os.mkfifo(bus)
    reading = os.open(bus, os.O_RDONLY | os.O_NONBLOCK)
    row = open_row(str(bus), 2, 5, lambda *_: None)
    os.close(reading)

    with pytest.raises(OSError, match="Broken pipe") as caught:
        row.light((0, 0, 0))

    assert caught.value.errno == errno.EPIPE
    row.close()
