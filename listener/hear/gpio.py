"""GPIO lines through libgpiod 2: a mute switch without an input node, and an LED.

A process that may open the chip can drive each of its pins, so an input node is preferred for the
switch. This is the only module that imports gpiod.
"""

from collections.abc import Sized
from datetime import timedelta
from typing import Literal, Protocol

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

from listener.errors import Unavailable
from listener.hear.indicators.led import DARK, Colour

_CONSUMER = "earmark"

Level = Literal["low", "high"]
LineName = int | str


class LineRequest(Protocol):
    """Used part of ``gpiod.LineRequest``."""

    @property
    def fd(self) -> int:
        """Descriptor that becomes readable after an edge."""

    def get_value(self, line: LineName) -> Value:
        """Return the logical value of the line; raise OSError when the chip is gone."""

    def set_value(self, line: LineName, value: Value) -> None:
        """Drive the line; raise OSError when the chip is gone."""

    def wait_edge_events(self, timeout: float) -> bool:
        """Return True if an edge is queued; with a timeout of 0 s without blocking."""

    def read_edge_events(self) -> Sized:
        """Remove queued edges; raise OSError when the chip is gone."""

    def release(self) -> None:
        """Release the line."""


class GpioLine:
    """Mute switch on a line (see `mute.switch.Line`); active means muted. Owns the request."""

    def __init__(self, request: LineRequest, line: LineName) -> None:
        self._request = request
        self._line = line
        self._was_active = False

    def fileno(self) -> int:
        """Return the descriptor of the request."""
        return self._request.fd

    def was_muted(self) -> bool:
        """Return True if the line is, or was since the last call, muted: any edge implies it."""
        edge = False
        # One read suffices: the kernel queues 16 edges of a line, and the level is read afterwards.
        if self._request.wait_edge_events(0):
            edge = len(self._request.read_edge_events()) > 0
        is_active = self._request.get_value(self._line) is Value.ACTIVE
        was_active, self._was_active = self._was_active, is_active
        return edge or was_active or is_active

    def close(self) -> None:
        """Release the line."""
        self._request.release()


def open_switch(chip: str, line: LineName, shut_level: Level, debounce_ms: int) -> GpioLine:
    """Request a line as a mute switch.

    The pull resistor is set to the muted level, so that a broken wire means muted.

    Args:
        chip: path of the chip.
        line: offset on the chip, or name of the line.
        shut_level: level that means muted.
        debounce_ms: shortest duration of a level, in milliseconds.

    Raises:
        Unavailable: the chip or the line does not exist, is in use, or access is denied.
    """
    return GpioLine(_request(chip, line, build_line_settings(shut_level, debounce_ms)), line)


def build_line_settings(shut_level: Level, debounce_ms: int) -> gpiod.LineSettings:
    """Return the settings of a mute switch line: active means muted, both edges are reported."""
    is_low = shut_level == "low"
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=Bias.PULL_DOWN if is_low else Bias.PULL_UP,
        active_low=is_low,
        debounce_period=timedelta(milliseconds=debounce_ms),
    )


class GpioLed:
    """LED on one line (see `indicators.led.Light`). Owns the request."""

    def __init__(self, request: LineRequest, line: LineName) -> None:
        self._request = request
        self._line = line

    def light(self, colour: Colour) -> None:
        """Switch the LED on or off; raise OSError when the chip is gone."""
        self._request.set_value(self._line, Value.ACTIVE if colour != DARK else Value.INACTIVE)

    def close(self) -> None:
        """Release the line."""
        self._request.release()


def open_led(chip: str, line: LineName, lit_level: Level) -> GpioLed:
    """Request a line as an LED, initially off; raise the errors of `open_switch`."""
    settings = gpiod.LineSettings(
        direction=Direction.OUTPUT,
        active_low=lit_level == "low",
        output_value=Value.INACTIVE,
    )
    return GpioLed(_request(chip, line, settings), line)


def _request(chip: str, line: LineName, settings: gpiod.LineSettings) -> LineRequest:
    try:
        return gpiod.request_lines(chip, {line: settings}, _CONSUMER)
    except ValueError as error:  # unknown name or offset
        raise Unavailable(f"{chip} has no line {line}: {error}") from error
    except OSError as error:
        raise Unavailable(f"cannot use line {line} of {chip}: {error.strerror or error}") from error
