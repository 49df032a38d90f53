"""Levels of audio in dBFS: root mean square, peak, noise floor, clipping, constant signals. Pure.

0 dBFS is full scale of int16; `SILENCE_DBFS` is the level of silence.
"""

import math
from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples

FULL_SCALE: Final = 32_768
SILENCE_DBFS: Final = -96.0
CLIPPED_FROM: Final = 32_700
"""Magnitude from which a sample counts as clipped; most converters stop below full scale."""

_FLOOR_PERCENTILE: Final = 10


def level_dbfs(samples: Samples) -> float:
    """Return the level of a block in dBFS: the root mean square without the DC offset.

    Args:
        samples: int16, shape (n,), n at least 1.
    """
    return _dbfs(float(samples.astype(np.float64).std()))


class LevelMeter:
    """Meter of level, peak and noise floor of a stream. Not safe for use by several threads."""

    def __init__(self) -> None:
        self._frames_dbfs: list[float] = []
        self._square_sum = 0.0
        self._peak = 0
        self._least: int | None = None
        self._greatest: int | None = None
        self.length_samples = 0
        """Number of samples."""
        self.clipped_samples = 0
        """Number of clipped samples."""

    def push(self, samples: Samples) -> None:
        """Add a block.

        Args:
            samples: int16, shape (n,), n at least 1; preferably a frame of 80 ms, because the
                noise floor is the level of the quietest blocks. Not stored.
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
        """Level of all samples, in dBFS."""
        if not self.length_samples:
            return SILENCE_DBFS
        return _dbfs(math.sqrt(self._square_sum / self.length_samples))

    @property
    def peak_dbfs(self) -> float:
        """Peak level, in dBFS."""
        return _dbfs(float(self._peak))

    @property
    def floor_dbfs(self) -> float:
        """Noise floor, in dBFS: the level below which a tenth of the blocks lie."""
        if not self._frames_dbfs:
            return SILENCE_DBFS
        return float(np.percentile(self._frames_dbfs, _FLOOR_PERCENTILE, method="lower"))

    @property
    def is_constant(self) -> bool:
        """True if all samples are equal, which a powered microphone never gives."""
        return self._least == self._greatest


class ConstantSignalDetector:
    """Detector of a constant signal, the sign of a dead microphone. Used by one thread.

    Args:
        limit_samples: equal samples in a row that count as constant; 0 turns detection off.
    """

    def __init__(self, limit_samples: int = FRAME_SAMPLES) -> None:
        self._limit_samples: Final = limit_samples
        self._value: int | None = None
        self._run_samples = 0

    def push(self, samples: Samples) -> bool:
        """Add the next block; return whether the limit is reached.

        Args:
            samples: int16, shape (n,), any n. Not stored.
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
        """True if the limit is reached."""
        return 0 < self._limit_samples <= self._run_samples

    def reset(self) -> None:
        """Start anew."""
        self._value, self._run_samples = None, 0


def _dbfs(amplitude: float) -> float:
    if amplitude <= 0:
        return SILENCE_DBFS
    return max(SILENCE_DBFS, 20 * math.log10(amplitude / FULL_SCALE))
