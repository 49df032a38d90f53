"""Whether a room is quiet: nothing rises above what it has sounded like lately.

``docs/decisions/0006`` tells how the numbers below were found, and what they were tried on.
"""

from typing import Final

import numpy as np

from listener.wake.features import BANDS, Floats

_GROUPS: Final = 4
"""The mel bands are averaged in groups: single bands of a steady noise jump by 10 dB and more."""
_RISE: Final = 0.6
"""A group this much above its floor is loud; 6 dB, as a tenth of decibels like the mel frames."""
_FLOOR_RISE_PER_FRAME: Final = 0.001
"""How fast the floor follows a room that got louder: 1 dB per second; it falls at once."""


class Quiet:
    """Follow the floor of each group of bands. Not safe for use by several threads."""

    def __init__(self, hop_frames: int) -> None:
        """Prepare for steps of ``hop_frames`` mel frames."""
        self._average = np.repeat(np.eye(_GROUPS, dtype=np.float32), BANDS // _GROUPS, axis=0)
        self._average /= BANDS // _GROUPS
        self._levels = np.empty((hop_frames, _GROUPS), np.float32)
        self._loudest = np.empty(_GROUPS, np.float32)
        self._climb = hop_frames * _FLOOR_RISE_PER_FRAME
        self.restart()

    def restart(self) -> None:
        """Forget the room."""
        self._floor = [np.inf] * _GROUPS
        self._levels[:] = 0
        self._loudest[:] = 0

    def is_loud(self, mel: Floats) -> bool:
        """Take a step's mel frames, shape (hop_frames, 32); tell whether anything rose."""
        np.matmul(mel, self._average, out=self._levels)
        self._levels.max(axis=0, out=self._loudest)
        loud = False
        floor = self._floor
        for group, level in enumerate(self._loudest.tolist()):
            if level > floor[group] + _RISE:
                loud = True
            floor[group] = min(floor[group] + self._climb, level)
        return loud
