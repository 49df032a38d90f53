"""State LED: a colour and a rhythm for each state, and a driver for APA102 and SK9822 on SPI.

Only hear's main loop drives it. An LED that fails does not stop hear: the failure is logged once
for each state, and the device is opened again later. APA102 and SK9822 are the LEDs of common
two-microphone HATs; source of the frame format: the APA102 data sheet.
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
"""Minimum seconds between two attempts to open the device."""

Colour = tuple[int, int, int]
"""Red, green, blue; 0 to 255. An LED of one colour is lit for any colour but `DARK`."""
DARK: Final = (0, 0, 0)

Ioctl = Callable[[int, int, bytes], object]
"""``fcntl.ioctl`` with a buffer of bytes."""

# linux/spi/spidev.h: _IOW('k', 1, __u8) and _IOW('k', 4, __u32)
SET_MODE: Final = 0x4001_6B01
SET_SPEED: Final = 0x4004_6B04
_SPEED_HZ: Final = 1_000_000

_log = logging.getLogger(__name__)


class Lamp(Protocol):
    """An indicator of the state. One thread."""

    def show(self, state: LampState) -> None:
        """Show the state; called on every turn of the loop to blink. Never blocks, never raises."""

    def close(self) -> None:
        """Turn the LED off and close the device."""


class NoLamp:
    """A `Lamp` where none is fitted."""

    def show(self, state: LampState) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Light(Protocol):
    """An open LED device. One thread."""

    def light(self, colour: Colour) -> None:
        """Set the colour; `DARK` turns it off. OSError when the device is gone."""

    def close(self) -> None:
        """Close the device."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """Colour and rhythm of a state; each alone identifies the state."""

    colour: Colour
    lit_s: float = 1.0
    """Seconds lit at the start of each period."""
    period_s: float = 1.0

    def at(self, time_s: float) -> Colour:
        """Return the colour at ``time_s`` seconds after the state began."""
        return self.colour if time_s % self.period_s < self.lit_s else DARK


PATTERNS: Final[Mapping[LampState, Pattern]] = {
    "idle": Pattern(DARK),
    "hearing": Pattern((0, 0, 255)),
    # Lit for two turns of the loop, so that a late turn does not skip it.
    "muted": Pattern((255, 0, 0), lit_s=0.16, period_s=3.0),
    "fault": Pattern((255, 80, 0), lit_s=0.24, period_s=0.48),
    "done": Pattern((0, 255, 0), lit_s=0.72, period_s=0.96),
    "refused": Pattern((255, 0, 160), lit_s=0.24, period_s=0.64),
}


class PatternLamp:
    """A `Lamp` that shows `PATTERNS` on a device that may disappear and come back."""

    def __init__(self, open_light: Callable[[], Light], monotonic_s: Callable[[], float]) -> None:
        """Prepare; the device is opened by the first `show`.

        Args:
            open_light: opens the device; raises OSError or EarmarkError if that fails.
            monotonic_s: monotonic clock in seconds.
        """
        self._open_light = open_light
        self._monotonic_s = monotonic_s
        self._light: Light | None = None
        self._shown: Colour | None = None
        self._state: LampState | None = None
        self._began_s = 0.0
        self._due_s = float("-inf")
        self._unlogged: set[LampState] = set(PATTERNS)

    def show(self, state: LampState) -> None:
        """Show the state; write to the device only when the colour changes."""
        now_s = self._monotonic_s()
        if state != self._state:
            self._state, self._began_s = state, now_s
        colour = PATTERNS[state].at(now_s - self._began_s)
        if colour == self._shown:
            return
        try:
            if self._light is None:
                if now_s < self._due_s:
                    self._log_failure(state, None)
                    return
                self._light = self._open_light()
            self._light.light(colour)
        except (OSError, EarmarkError) as error:
            self._due_s = now_s + RETRY_S
            self._close_light()
            self._log_failure(state, error)
            return
        self._shown = colour
        self._unlogged = set(PATTERNS)

    def close(self) -> None:
        """Turn the LED off if that is possible, and close the device."""
        if self._light is not None:
            with contextlib.suppress(OSError):
                self._light.light(DARK)
        self._close_light()

    def _close_light(self) -> None:
        light, self._light, self._shown = self._light, None, None
        if light is not None:
            with contextlib.suppress(OSError):
                light.close()

    def _log_failure(self, state: LampState, error: Exception | None) -> None:
        """Log once for each state that it is not shown."""
        if state in self._unlogged:
            self._unlogged.discard(state)
            reason = "" if error is None else f": {error}"
            level = logging.WARNING if state in ("idle", "hearing") else logging.ERROR
            _log.log(level, "the lamp cannot show %r%s", state, reason)


def encode_frame(colour: Colour, leds: int, brightness: int) -> bytes:
    """Encode the SPI frame that sets all LEDs of a row to one colour.

    Args:
        colour: of each LED.
        leds: number of LEDs.
        brightness: global brightness, 0 to 31; the colour's own values are not scaled.

    Returns:
        4 zero bytes, 4 bytes for each LED, and the end frame.
    """
    red, green, blue = colour
    led = bytes((0xE0 | brightness, blue, green, red))
    # Each LED delays the data by half a clock, so the end frame has a bit for every two LEDs.
    # Zeros instead of the data sheet's ones: LEDs beyond the configured number would show white.
    end = bytes(4 + -(-leds // 16))
    return bytes(4) + leds * led + end


class Apa102:
    """A row of APA102 LEDs. It owns the descriptor. One thread."""

    def __init__(self, node: int, leds: int, brightness: int) -> None:
        self._node = node
        self._leds = leds
        self._brightness = brightness

    def light(self, colour: Colour) -> None:
        """Show a colour on all LEDs; OSError when the bus is gone."""
        os.write(self._node, encode_frame(colour, self._leds, self._brightness))

    def close(self) -> None:
        """Close the bus."""
        os.close(self._node)


def open_row(device: str, leds: int, brightness: int, ioctl: Ioctl = fcntl.ioctl) -> Apa102:
    """Open the SPI device of a row of LEDs.

    Args:
        device: such as ``/dev/spidev0.1``.
        leds: number of LEDs.
        brightness: global brightness, 0 to 31.
        ioctl: has the interface of ``fcntl.ioctl``.

    Raises:
        Unavailable: it cannot be opened, or is not an SPI device; nothing was written to it.
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
        raise Unavailable(f"{device} is not an SPI device: {error.strerror}") from error
    return Apa102(node, leds, brightness)
