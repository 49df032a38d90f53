"""High-pass filter that removes the direct offset of a microphone. Pure.

One pole and one zero at 0 Hz, with -3 dB at 10 Hz, which is below speech. I2S microphones have
offsets of up to a fifth of full scale; an offset is not sound, and counts in no level.

Source: J. O. Smith, Introduction to Digital Filters, "DC Blocker".
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ

CORNER_HZ: Final = 10.0

_POLE: Final = 1 - 2 * math.pi * CORNER_HZ / SAMPLE_RATE_HZ
_GAIN: Final = (1 + _POLE) / 2  # for a gain of 1 at high frequencies


class DcBlocker:
    """Filter of one stream, block by block. Not thread-safe."""

    def __init__(self) -> None:
        from scipy.signal import lfilter  # noqa: PLC0415 - takes 0.5 s; only needed to measure levels

        self._filter: Any = lfilter
        self._state: NDArray[np.float64] | None = None

    def push(self, samples: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the next samples without their offset.

        Args:
            samples: at 16 kHz, shape (n,), any n. The first sample counts as the offset of the time
                before it, so that a constant signal gives zeros from its start.
        """
        sound = np.asarray(samples, np.float64)
        if not len(sound):
            return sound
        if self._state is None:
            self._state = -_GAIN * sound[:1]
        filtered: NDArray[np.float64]
        filtered, self._state = self._filter([_GAIN, -_GAIN], [1, -_POLE], sound, zi=self._state)
        return filtered
