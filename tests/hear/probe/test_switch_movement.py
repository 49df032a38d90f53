"""Check of the switch's line, with a line that moves at given times."""

from collections.abc import Sequence

import pytest

from listener.config import MuteSettings
from listener.hear.mute.switch import LineSwitch
from listener.hear.probe import switch_movement


class MovingLine:
    """Line that is muted, open, or lost (None) from given seconds on; `wait` advances the time."""

    def __init__(self, *positions: tuple[float, bool | None]) -> None:
        self._positions = positions
        self.now_s = 0.0
        self._was_muted = False

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, descriptors: Sequence[int], longest_s: float) -> None:
        del descriptors
        self.now_s = round(self.now_s + longest_s, 3)

    def open(self) -> "MovingLine":
        self.was_muted()
        return self

    def fileno(self) -> int:
        return 0

    def was_muted(self) -> bool:
        is_muted = [position for at_s, position in self._positions if at_s <= self.now_s][-1]
        if is_muted is None:
            raise OSError("gone")
        was_muted_before, self._was_muted = self._was_muted, is_muted
        return was_muted_before or is_muted

    def close(self) -> None:
        pass


def run_check(line: MovingLine) -> tuple[str, str]:
    switch = LineSwitch("fake", line.open, line.monotonic_s)
    finding = switch_movement.wait_for_switch(switch, line.monotonic_s, line.wait)
    return finding.verdict, finding.text


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        (((0, False), (2, True), (5, False)), "muted after 2.0 s, open after 3.0 s more"),
        (((0, True), (1, False), (1.5, True)), "open after 1.0 s, muted after 0.5 s more"),
    ],
)
def test_switch_moved_both_ways_passes(positions: tuple[tuple[float, bool]], text: str) -> None:
    verdict, message = run_check(MovingLine(*positions))

    assert (verdict, message) == ("ok", text)


@pytest.mark.parametrize(
    ("positions", "text"),
    [
        (((0, False),), "it stayed open for 20 s"),
        (((0, True),), "it stayed muted for 20 s"),
        (((0, False), (2, True)), "it stayed muted for 20 s"),
        (((0, None),), "cannot be read"),
        (((0, False), (2, None)), "lost during the check"),
        (((0, True), (2, None)), "cannot be read"),
    ],
)
def test_switch_that_does_not_move_or_cannot_be_read_fails(
    positions: tuple[tuple[float, bool | None]], text: str
) -> None:
    verdict, message = run_check(MovingLine(*positions))

    assert verdict == "fail"
    assert text in message


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (MuteSettings(), "mute.switch is not set"),
        (MuteSettings(switch="none"), "no mute switch is fitted"),
        (MuteSettings(switch="input", input="/dev/input/gone"), "cannot be read"),
    ],
)
def test_switch_check_fails_without_a_usable_switch(settings: MuteSettings, text: str) -> None:
    finding = switch_movement.check_switch(settings)

    assert finding.verdict == "fail"
    assert text in finding.text
