import itertools

import pytest

from listener.audio.pcm import Gap, GapReason, Sound
from listener.hear.inference_time import FRAMES, TimedDetector
from listener.wakeword.detector import Wake

GAP = Gap(GapReason.START, 0)
WAKE = Wake("alexa", 0.9, 1280, 0.5)


class SlowDetector:
    """Takes as long as it is told to, by a clock of its own."""

    def __init__(self, *times_s: float) -> None:
        self.times_s = itertools.chain(times_s)
        self.now_s = 100.0

    def push(self, sound: Sound) -> tuple[Wake, ...]:
        del sound
        self.now_s += next(self.times_s)
        return (WAKE,)

    def clock(self) -> float:
        return self.now_s


def test_percentile_is_that_of_the_last_minute() -> None:
    slow = SlowDetector(*[5.0] * 10, *[0.010] * (FRAMES - 20), *[0.030] * 20)
    timed = TimedDetector(slow, slow.clock, lambda: 0.0)
    assert timed.p99_ms is None

    for _ in range(10):
        assert timed.push(GAP) == (WAKE,)
    assert timed.p99_ms == 5000.0
    for _ in range(FRAMES):
        timed.push(GAP)
    assert timed.p99_ms == pytest.approx(30.0)


def test_processor_use_is_that_since_the_last_call() -> None:
    times_s = iter([0.0, 0.5, 2.5, 2.5])
    slow = SlowDetector(10.0, 10.0)
    timed = TimedDetector(slow, slow.clock, lambda: next(times_s))

    timed.push(GAP)
    first = timed.cpu_percent()
    timed.push(GAP)

    assert (first, timed.cpu_percent()) == (5.0, 20.0)
    assert timed.cpu_percent() is None, "no time has passed"
