"""Lines of a GPIO chip through libgpiod 2: the mute switch where no input node can be had; a lamp.

Whoever may open the chip may drive every pin of it, so an input node is the better switch. The only
importer of gpiod.
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
    """What a ``gpiod.LineRequest`` is to us."""

    @property
    def fd(self) -> int:
        """The descriptor that can be read after an edge."""

    def get_value(self, line: LineName) -> Value:
        """Return the line's logical value; OSError when the chip is gone."""

    def set_value(self, line: LineName, value: Value) -> None:
        """Drive the line; OSError when the chip is gone."""

    def wait_edge_events(self, timeout: float) -> bool:
        """Tell whether an edge waits; with 0, at once."""

    def read_edge_events(self) -> Sized:
        """Take some of the edges that wait; OSError when the chip is gone."""

    def release(self) -> None:
        """Give the line back."""


class GpioLine:
    """A `switches.Line` whose active value is shut. The request is released with it."""

    def __init__(self, request: LineRequest, line: LineName) -> None:
        self._request = request
        self._line = line
        self._was_shut = False

    def fileno(self) -> int:
        """Return the request's descriptor."""
        return self._request.fd

    def was_muted(self) -> bool:
        """Take the edges that wait, then read the level; any edge has a shut side."""
        edge = False
        # Once: the kernel keeps 16 of a line's edges, and the level is read after them anyway.
        if self._request.wait_edge_events(0):
            edge = len(self._request.read_edge_events()) > 0
        shut = self._request.get_value(self._line) is Value.ACTIVE
        was_shut, self._was_shut = self._was_shut, shut
        return edge or was_shut or shut

    def close(self) -> None:
        """Give the line back."""
        self._request.release()


def open_switch(chip: str, line: LineName, shut_level: Level, debounce_ms: int) -> GpioLine:
    """Request a line as a mute switch.

    The pull resistor points to the level that means shut, so that a broken wire does too.

    Args:
        chip: its path.
        line: offset on the chip, or the line's name.
        shut_level: the level that means muted.
        debounce_ms: a level holds for so long before it counts.

    Raises:
        Unavailable: the chip or the line is not there, held by somebody else or not ours to use.
    """
    return GpioLine(_request(chip, line, build_line_settings(shut_level, debounce_ms)), line)


def build_line_settings(shut_level: Level, debounce_ms: int) -> gpiod.LineSettings:
    """Return how the line of a mute switch is requested: active is shut, edges both ways."""
    is_low = shut_level == "low"
    return gpiod.LineSettings(
        direction=Direction.INPUT,
        edge_detection=Edge.BOTH,
        bias=Bias.PULL_DOWN if is_low else Bias.PULL_UP,
        active_low=is_low,
        debounce_period=timedelta(milliseconds=debounce_ms),
    )


class GpioLed:
    """One LED on a line: a `lamp.Light`. The request is released with it."""

    def __init__(self, request: LineRequest, line: LineName) -> None:
        self._request = request
        self._line = line

    def light(self, colour: Colour) -> None:
        """Switch it on or off; OSError when the chip is gone."""
        self._request.set_value(self._line, Value.ACTIVE if colour != DARK else Value.INACTIVE)

    def close(self) -> None:
        """Give the line back."""
        self._request.release()


def open_led(chip: str, line: LineName, lit_level: Level) -> GpioLed:
    """Request a line as a lamp, dark at first; errors as `open_switch`."""
    settings = gpiod.LineSettings(
        direction=Direction.OUTPUT,
        active_low=lit_level == "low",
        output_value=Value.INACTIVE,
    )
    return GpioLed(_request(chip, line, settings), line)


def _request(chip: str, line: LineName, settings: gpiod.LineSettings) -> LineRequest:
    try:
        return gpiod.request_lines(chip, {line: settings}, _CONSUMER)
    except ValueError as error:  # no line has this name, or this offset
        raise Unavailable(f"{chip} has no line {line}: {error}") from error
    except OSError as error:
        raise Unavailable(f"cannot use line {line} of {chip}: {error.strerror or error}") from error
