"""How loud sound is: numbers only, so that a level can be shown where sound may not go.

Pure. Decibels are relative to full scale: 0 is as loud as int16 can be, and `SILENCE_DBFS` stands
for silence.
"""

import math
from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples

FULL_SCALE: Final = 32_768
SILENCE_DBFS: Final = -96.0
CLIPPED_FROM: Final = 32_700
"""As loud as a converter gets: most stop a little below full scale."""

_FLOOR_PERCENTILE: Final = 10


def level_dbfs(samples: Samples) -> float:
    """Return the level of a block: its root mean square without its mean, in dBFS.

    Args:
        samples: int16, shape (n,), at least one.
    """
    # A microphone's direct offset is no sound.
    return _dbfs(float(samples.astype(np.float64).std()))


class LevelMeter:
    """The levels of a stretch of sound. Not safe for use by several threads."""

    def __init__(self) -> None:
        self._frames_dbfs: list[float] = []
        self._square_sum = 0.0
        self._peak = 0
        self._least: int | None = None
        self._greatest: int | None = None
        self.length_samples = 0
        self.clipped_samples = 0
        """So many stood at the converter's end."""

    def push(self, samples: Samples) -> None:
        """Take a block in.

        Args:
            samples: int16, shape (n,), at least one; best a frame of 80 ms, since the noise floor
                is the level of the quietest blocks. Not kept.
        """
        wide = samples.astype(np.int32)
        magnitude = np.abs(wide)
        self._peak = max(self._peak, int(magnitude.max()))
        self.clipped_samples += int(np.count_nonzero(magnitude >= CLIPPED_FROM))
        least, greatest = int(wide.min()), int(wide.max())
        self._least = least if self._least is None else min(self._least, least)
        self._greatest = greatest if self._greatest is None else max(self._greatest, greatest)
        self._square_sum += float(np.square(wide - wide.mean()).sum())
        self._frames_dbfs.append(level_dbfs(samples))
        self.length_samples += len(samples)

    @property
    def level_dbfs(self) -> float:
        """Of all of it."""
        if not self.length_samples:
            return SILENCE_DBFS
        return _dbfs(math.sqrt(self._square_sum / self.length_samples))

    @property
    def peak_dbfs(self) -> float:
        """Of the loudest sample."""
        return _dbfs(float(self._peak))

    @property
    def floor_dbfs(self) -> float:
        """Of the quietest tenth of the blocks: the noise floor."""
        if not self._frames_dbfs:
            return SILENCE_DBFS
        return float(np.percentile(self._frames_dbfs, _FLOOR_PERCENTILE, method="lower"))

    @property
    def is_constant(self) -> bool:
        """Whether all samples are the same: no microphone that has power does that."""
        return self._least == self._greatest


class ConstantSignalDetector:
    """Notices sound that is none: so many samples in a row that are all the same. One thread.

    Args:
        limit_samples: from how many on; 0 never.
    """

    def __init__(self, limit_samples: int = FRAME_SAMPLES) -> None:
        self._limit_samples: Final = limit_samples
        self._value: int | None = None
        self._run_samples = 0

    def push(self, samples: Samples) -> bool:
        """Take the next block in; say whether the limit is reached.

        Args:
            samples: int16, shape (n,), any n. Not kept.
        """
        if not len(samples):
            return self.is_constant
        last = int(samples[-1])
        others = np.flatnonzero(samples != last)
        if len(others):
            self._run_samples = len(samples) - 1 - int(others[-1])
        elif last == self._value:
            self._run_samples += len(samples)
        else:
            self._run_samples = len(samples)
        self._value = last
        return self.is_constant

    @property
    def is_constant(self) -> bool:
        """Whether the limit is reached."""
        return 0 < self._limit_samples <= self._run_samples

    def reset(self) -> None:
        """Forget what came before."""
        self._value, self._run_samples = None, 0


def _dbfs(amplitude: float) -> float:
    if amplitude <= 0:
        return SILENCE_DBFS
    return max(SILENCE_DBFS, 20 * math.log10(amplitude / FULL_SCALE))
