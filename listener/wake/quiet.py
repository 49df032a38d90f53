"""Whether a room is quiet: nothing rises above what it has sounded like lately.

``docs/decisions/0006`` tells how the numbers below were found, and what they were tried on.
Levels are in tenths of decibels like the mel frames: 0.6 is 6 dB.
"""

from typing import Final

import numpy as np

from listener.wake.features import BANDS, Floats

_GROUPS: Final = 4
"""The mel bands are averaged in groups: single bands of a steady noise jump by 10 dB and more."""
_FRAMES: Final = 8
"""What is compared are the loudest and the mean of the last 80 ms."""
_PEAK_RISE: Final = 0.6
_MEAN_RISE: Final = 0.4
_FLOOR_RISE_PER_FRAME: Final = 0.001
"""How fast the floor follows a room that got louder: 1 dB per second; it falls at once."""
_LOWEST_FLOOR: Final = -1.0
"""Less than a single bit's noise: no floor is lower, or it would take minutes to come up again."""


class EnergyGate:
    """Follow the floor of each group of bands. Not safe for use by several threads."""

    def __init__(self, hop_frames: int) -> None:
        """Prepare for steps of ``hop_frames`` mel frames, 8 or a divisor of it."""
        self._average = np.repeat(np.eye(_GROUPS, dtype=np.float32), BANDS // _GROUPS, axis=0)
        self._average /= BANDS // _GROUPS
        self._levels = np.empty((_FRAMES, _GROUPS), np.float32)
        self._parts = tuple(
            self._levels[first : first + hop_frames] for first in range(0, _FRAMES, hop_frames)
        )
        # One row of peaks and one of sums, so that both become numbers in one go.
        self._measures = np.empty((2, _GROUPS), np.float32)
        self._peaks, self._sums = self._measures
        self._climb = hop_frames * _FLOOR_RISE_PER_FRAME
        self.restart()

    def restart(self) -> None:
        """Forget the room, and wipe it."""
        self._steps = 0
        self._peak_floor = [np.inf] * _GROUPS
        self._mean_floor = [np.inf] * _GROUPS
        self._levels[:] = 0
        self._measures[:] = 0

    def is_loud(self, mel: Floats) -> bool:
        """Take a step's mel frames, shape (hop_frames, 32); tell whether anything rose.

        The first frames count as loud: there is nothing yet to compare them with.
        """
        np.matmul(mel, self._average, out=self._parts[self._steps % len(self._parts)])
        self._steps += 1
        if self._steps <= len(self._parts):
            return True
        np.maximum.reduce(self._levels, axis=0, out=self._peaks)
        np.add.reduce(self._levels, axis=0, out=self._sums)
        peaks, sums = self._measures.tolist()
        loud = False
        floor = self._peak_floor
        for group, level in enumerate(peaks):
            lowest = floor[group]
            loud = loud or level > lowest + _PEAK_RISE
            floor[group] = max(_LOWEST_FLOOR, min(lowest + self._climb, level))
        floor = self._mean_floor
        for group, total in enumerate(sums):
            lowest, level = floor[group], total / _FRAMES
            loud = loud or level > lowest + _MEAN_RISE
            floor[group] = max(_LOWEST_FLOOR, min(lowest + self._climb, level))
        return loud
