"""Time that the detector takes for a frame, and the processor time of hear."""

from collections.abc import Callable
from typing import Final

import numpy as np

from listener.audio.pcm import Sound
from listener.hear.loop import WakeDetector
from listener.wakeword.detector import NearMiss, Wake

FRAMES: Final = 750
"""Frames of the percentile: one minute."""
_PERCENTILE: Final = 99


class TimedDetector:
    """A `WakeDetector` that measures another one. For one thread.

    Args:
        detector: the detector.
        monotonic_s: monotonic clock, in seconds.
        processor_s: processor time of this process, in seconds.
    """

    def __init__(
        self,
        detector: WakeDetector,
        monotonic_s: Callable[[], float],
        processor_s: Callable[[], float],
    ) -> None:
        self._detector = detector
        self._monotonic_s = monotonic_s
        self._processor_s = processor_s
        self._times_s = np.zeros(FRAMES)
        self._frames = 0
        self._since_s, self._used_s = monotonic_s(), processor_s()

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame or gap; return the detections, oldest first."""
        begun_s = self._monotonic_s()
        detections = self._detector.push(sound)
        self._times_s[self._frames % FRAMES] = self._monotonic_s() - begun_s
        self._frames += 1
        return detections

    @property
    def p99_ms(self) -> float | None:
        """99th percentile of the time of a frame in the last minute, in milliseconds, or None."""
        times_s = self._times_s[: self._frames]
        if not len(times_s):
            return None
        return round(float(np.percentile(times_s, _PERCENTILE)) * 1000, 1)

    def cpu_percent(self) -> float | None:
        """Return the processor use of this process since the last call, in % of one core."""
        now_s, used_s = self._monotonic_s(), self._processor_s()
        passed_s = now_s - self._since_s
        if passed_s <= 0:
            return None
        percent = (used_s - self._used_s) / passed_s * 100
        self._since_s, self._used_s = now_s, used_s
        return round(percent, 1)
