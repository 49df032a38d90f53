"""The lamp: what the gate and the ear do, shown in the room. Driven by the ear's loop alone.

A lamp that fails never stops the ear; that it cannot show is said once, and it is tried again.

APA102 and SK9822 LEDs on an SPI bus: what common two-microphone HATs have.
"""

import contextlib
import fcntl
import logging
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from listener.errors import EarmarkError, Unavailable
from listener.ipc.notices import LampState

RETRY_S: Final = 5.0

Colour = tuple[int, int, int]
"""Red, green, blue; 0 to 255. A lamp of one colour is lit for any but `DARK`."""
DARK: Final = (0, 0, 0)

_log = logging.getLogger(__name__)


class Lamp(Protocol):
    """What shows a state. One thread."""

    def show(self, state: LampState) -> None:
        """Show it; called at each turn of the loop, so that it can blink. Never waits or raises."""

    def close(self) -> None:
        """Go dark, and let go of the device."""


class NoLamp:
    """No lamp is fitted."""

    def show(self, state: LampState) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is held."""


class Light(Protocol):
    """A device that can be lit."""

    def light(self, colour: Colour) -> None:
        """Light it, or put it out; OSError when the device is gone."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a state looks: colour and rhythm, so that one of them is enough to tell."""

    colour: Colour
    lit_s: float = 1.0
    period_s: float = 1.0

    def at(self, time_s: float) -> Colour:
        """Return what is to be seen at a time."""
        return self.colour if time_s % self.period_s < self.lit_s else DARK


PATTERNS: Final[Mapping[LampState, Pattern]] = {
    "idle": Pattern(DARK),
    "hearing": Pattern((0, 0, 255)),
    # Two turns of the loop, so that none is missed.
    "muted": Pattern((255, 0, 0), lit_s=0.16, period_s=3.0),
    "fault": Pattern((255, 80, 0), lit_s=0.24, period_s=0.48),
}


class PatternLamp:
    """A lamp that shows the patterns on a device that may come and go. One thread."""

    def __init__(self, open_light: Callable[[], Light], monotonic_s: Callable[[], float]) -> None:
        """Prepare; the device is opened when there is something to show.

        Args:
            open_light: opens the device; OSError or EarmarkError when that cannot be done now.
            monotonic_s: a clock in seconds that never goes back.
        """
        self._open_light = open_light
        self._monotonic_s = monotonic_s
        self._light: Light | None = None
        self._shown: Colour | None = None
        self._state: LampState | None = None
        self._began_s = 0.0
        self._due_s = float("-inf")
        self._unsaid: set[LampState] = set(PATTERNS)

    def show(self, state: LampState) -> None:
        """Write to the device only what changes."""
        now_s = self._monotonic_s()
        if state != self._state:
            self._state, self._began_s = state, now_s
        colour = PATTERNS[state].at(now_s - self._began_s)
        if colour == self._shown:
            return
        try:
            if self._light is None:
                if now_s < self._due_s:
                    self._say(state, None)
                    return
                self._light = self._open_light()
            self._light.light(colour)
        except (OSError, EarmarkError) as error:
            self._due_s = now_s + RETRY_S
            self._let_go()
            self._say(state, error)
            return
        self._shown = colour
        self._unsaid = set(PATTERNS)

    def close(self) -> None:
        """Go dark, as far as it can be done."""
        if self._light is not None:
            with contextlib.suppress(OSError):
                self._light.light(DARK)
        self._let_go()

    def _let_go(self) -> None:
        light, self._light, self._shown = self._light, None, None
        if light is not None:
            with contextlib.suppress(OSError):
                light.close()

    def _say(self, state: LampState, error: Exception | None) -> None:
        """Say once for each state what it is that nobody sees."""
        if state in self._unsaid:
            self._unsaid.discard(state)
            why = "" if error is None else f": {error}"
            level = logging.WARNING if state in ("idle", "hearing") else logging.ERROR
            _log.log(level, "the lamp cannot show %r%s", state, why)


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
