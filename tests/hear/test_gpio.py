"""GPIO lines: the chip is faked, gpiod's own types are real."""

import errno

import gpiod
import pytest
from gpiod.line import Bias, Direction, Edge, Value
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.hear.gpio import GpioLed, GpioLine, build_line_settings, open_led, open_switch
from listener.hear.indicators.led import DARK


class FakeChip:
    """A request for one line. Its level is logical: active is shut, or lit."""

    fd = 9

    def __init__(self) -> None:
        self.value = Value.INACTIVE
        self.edges = 0
        self.is_gone = self.is_released = False

    def _reach(self) -> None:
        if self.is_gone:
            raise OSError(errno.ENODEV, "No such device")

    def get_value(self, line: int | str) -> Value:
        assert line == 27
        self._reach()
        return self.value

    def set_value(self, line: int | str, value: Value) -> None:
        assert line == 27
        self._reach()
        self.value = value

    def wait_edge_events(self, timeout: float) -> bool:
        assert timeout == 0, "hear waits elsewhere"
        return self.is_gone or self.edges > 0

    def read_edge_events(self) -> list[int]:
        self._reach()
        edges, self.edges = self.edges, 0
        return [0] * edges

    def release(self) -> None:
        self.is_released = True

    def throw(self, *, shut: bool) -> None:
        value = Value.ACTIVE if shut else Value.INACTIVE
        # The kernel keeps the first edges of a line that nobody reads, and drops the others.
        self.edges = min(16, self.edges + (value is not self.value))
        self.value = value


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip()


def test_initial_level_is_read_without_an_edge(chip: FakeChip) -> None:
    chip.value = Value.ACTIVE

    assert GpioLine(chip, 27).was_muted()


def test_switch_pulse_between_polls_counts_as_muted(chip: FakeChip) -> None:
    line = GpioLine(chip, 27)
    assert not line.was_muted()

    chip.throw(shut=True)
    chip.throw(shut=False)

    assert line.was_muted()
    assert not line.was_muted()


@given(st.lists(st.booleans(), max_size=60))
def test_final_state_follows_the_last_edge(throws: list[bool]) -> None:
    chip = FakeChip()
    line = GpioLine(chip, 27)
    line.was_muted()

    for shut in throws:
        chip.throw(shut=shut)

    assert line.was_muted() is any(throws)
    assert line.was_muted() is (chip.value is Value.ACTIVE)


def test_removed_chip_is_an_error(chip: FakeChip) -> None:
    line = GpioLine(chip, 27)
    chip.is_gone = True

    with pytest.raises(OSError, match="No such device"):
        line.was_muted()


def test_close_releases_the_line(chip: FakeChip) -> None:
    line = GpioLine(chip, 27)
    assert line.fileno() == 9

    line.close()

    assert chip.is_released


@pytest.mark.parametrize(("level", "pull"), [("low", Bias.PULL_DOWN), ("high", Bias.PULL_UP)])
def test_broken_wire_is_pulled_to_the_muted_level(level: str, pull: Bias) -> None:
    settings = build_line_settings("low" if level == "low" else "high", 10)

    assert settings.direction is Direction.INPUT
    assert settings.edge_detection is Edge.BOTH
    assert settings.bias is pull
    assert settings.active_low is (level == "low"), "active is shut"
    assert settings.debounce_period.total_seconds() == 0.01


def test_led_is_switched_on_and_off(chip: FakeChip) -> None:
    led = GpioLed(chip, 27)

    lit = []
    for colour in ((0, 0, 255), DARK):
        led.light(colour)
        lit.append(chip.value)
    assert lit == [Value.ACTIVE, Value.INACTIVE]
    led.close()
    assert chip.is_released


def test_missing_chip_is_reported() -> None:
    with pytest.raises(Unavailable, match="cannot use line 27 of /dev/gpiochip99: No such file"):
        open_switch("/dev/gpiochip99", 27, "low", 10)
    with pytest.raises(Unavailable, match="cannot use line 12"):
        open_led("/dev/gpiochip99", 12, "high")


def test_device_that_is_not_a_gpio_chip_is_reported() -> None:
    with pytest.raises(Unavailable, match="cannot use line 27 of /dev/null"):
        open_switch("/dev/null", 27, "low", 10)


def test_fake_chip_has_the_interface_of_gpiod() -> None:
    for name in ("fd", "get_value", "set_value", "wait_edge_events", "read_edge_events", "release"):
        assert hasattr(gpiod.LineRequest, name)
        assert hasattr(FakeChip, name)
