"""APA102 and SK9822 LEDs on an SPI bus: what common two-microphone HATs have."""

import fcntl
import os
import struct
from collections.abc import Callable
from typing import Final

from listener.errors import Unavailable
from listener.hear.signs.lamp import Colour

# linux/spi/spidev.h: _IOW('k', 1, __u8) and _IOW('k', 4, __u32)
SET_MODE: Final = 0x4001_6B01
SET_SPEED: Final = 0x4004_6B04
_SPEED_HZ: Final = 1_000_000

Ioctl = Callable[[int, int, bytes], object]


def encode_frame(colour: Colour, leds: int, brightness: int) -> bytes:
    """Return what makes a row of LEDs all show one colour.

    Args:
        colour: of each.
        leds: how many.
        brightness: 0 to 31, of what they can; the colour's own values are left alone.
    """
    red, green, blue = colour
    led = bytes((0xE0 | brightness, blue, green, red))
    # Half a clock for each LED moves the picture on. Zeros, where some send ones: a row that is
    # longer than we know would show those as white.
    end = bytes(4 + -(-leds // 16))
    return bytes(4) + leds * led + end


class Apa102:
    """A row of LEDs. Its descriptor is closed with it."""

    def __init__(self, node: int, leds: int, brightness: int) -> None:
        self._node = node
        self._leds = leds
        self._brightness = brightness

    def light(self, colour: Colour) -> None:
        """Show a colour on all of them; OSError when the bus is gone."""
        os.write(self._node, encode_frame(colour, self._leds, self._brightness))

    def close(self) -> None:
        """Close the bus."""
        os.close(self._node)


def open_row(device: str, leds: int, brightness: int, ioctl: Ioctl = fcntl.ioctl) -> Apa102:
    """Open the SPI device of a row of LEDs.

    Args:
        device: such as ``/dev/spidev0.1``.
        leds: how many.
        brightness: 0 to 31.
        ioctl: as ``fcntl.ioctl`` with a buffer of bytes.

    Raises:
        Unavailable: it is not there, not ours, or no SPI device; then nothing was written to it.
    """
    try:
        node = os.open(device, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise Unavailable(f"cannot open {device}: {error.strerror}") from error
    try:
        ioctl(node, SET_MODE, b"\0")
        ioctl(node, SET_SPEED, struct.pack("@I", _SPEED_HZ))
    except OSError as error:
        os.close(node)
        raise Unavailable(f"{device} is no SPI device: {error.strerror}") from error
    return Apa102(node, leds, brightness)
