"""Trailing silence of a clip, measured by its level. Pure.

A voice activity detector finds the end of speech too late and its beginning later still: an "f" or
a "t" after a pause is 0.1 s long before it counts as speech. The level shows both within 20 ms in a
quiet room. In noise it shows silence late or never, which is the safe error: a provisional part is
not confirmed then, and the endpoint decides.
"""

from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

BLOCK_SAMPLES: Final = SAMPLE_RATE_HZ // 50
"""Samples of one level: 20 ms."""
FLOOR_BLOCKS: Final = 15
"""Blocks whose median is the background: the last 0.3 s."""
ABOVE_FLOOR_DB: Final = 5.0
"""Level above the background from which a block is not silent."""
BELOW_SPEECH_DB: Final = 35.0
"""Level below the speech down to which a block is not silent, however quiet the background is."""

_SPEECH_PERCENT: Final = 95


class TrailingSilence:
    """Levels of one clip, one in 20 ms. For one thread."""

    def __init__(self) -> None:
        self._levels: list[float] = []

    def push(self, samples: Samples) -> None:
        """Add the next samples of the clip.

        Args:
            samples: int16, shape (n,), n a multiple of `BLOCK_SAMPLES`.
        """
        blocks = samples.astype(np.float64).reshape(-1, BLOCK_SAMPLES)
        # 1 keeps the logarithm of digital silence finite.
        self._levels += (10 * np.log10((blocks**2).mean(axis=1) + 1)).tolist()

    def measure_samples(self) -> int:
        """Return the length of the silence at the end, in samples; 0 before any silence."""
        levels = np.array(self._levels)
        if len(levels) < FLOOR_BLOCKS:
            return 0
        floor = float(np.median(levels[-FLOOR_BLOCKS:]))
        speech = float(np.percentile(levels, _SPEECH_PERCENT))
        loud = np.flatnonzero(levels > max(floor + ABOVE_FLOOR_DB, speech - BELOW_SPEECH_DB))
        silent = len(levels) - 1 - int(loud[-1]) if len(loud) else 0
        return silent * BLOCK_SAMPLES
