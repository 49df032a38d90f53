"""Active speech level by ITU-T P.56, method B. Pure.

Only the time in which somebody speaks counts, with 200 ms of hangover, so a word in a long pause
has the same level as the word alone; speech is what lies less than 15.9 dB below that level. The
envelope is sampled once a millisecond; the recommendation uses every sample.

The direct offset of a microphone, up to a fifth of full scale with I2S, is not sound: a filter with
a zero at 0 Hz (J. O. Smith, Introduction to Digital Filters, "DC Blocker") removes it first, as by
the band limit that the recommendation allows before the meter.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ

FULL_SCALE: Final = 32_768.0
"""0 dBov: the root mean square of the loudest square wave."""

_SMOOTHING: Final = math.exp(-1 / (SAMPLE_RATE_HZ * 0.03))
_DC_POLE: Final = 1 - 2 * math.pi * 10 / SAMPLE_RATE_HZ  # -3 dB at 10 Hz, below speech
_DC_GAIN: Final = (1 + _DC_POLE) / 2  # for a gain of 1 at high frequencies
_DECIMATION: Final = 16
_HANGOVER_POINTS: Final = round(0.2 * SAMPLE_RATE_HZ / _DECIMATION)
_MARGIN_DB: Final = 15.9
_THRESHOLDS: Final = 2.0 ** np.arange(16)
"""Thresholds over the range of int16, 6 dB apart."""


class SpeechLevel:
    """Level meter for a stream, block by block, in constant memory. Not thread-safe."""

    def __init__(self) -> None:
        from scipy.signal import lfilter  # noqa: PLC0415 - takes 0.5 s; only needed to measure levels

        self._filter: Any = lfilter
        self._dc_state: NDArray[np.float64] | None = None
        self._energy = 0.0
        self._samples = 0
        self._states = [np.zeros(1), np.zeros(1)]
        self._active_points = np.zeros(len(_THRESHOLDS), np.int64)
        self._since = np.full(len(_THRESHOLDS), _HANGOVER_POINTS + 1, np.int64)

    def push(self, samples: NDArray[np.floating]) -> None:
        """Add the next samples.

        Args:
            samples: in units of int16, shape (n,), any n.
        """
        if not len(samples):
            return
        sound = self._without_offset(np.asarray(samples, np.float64))
        self._energy += float(sound @ sound)
        envelope = np.abs(sound)
        for stage in (0, 1):
            envelope, self._states[stage] = self._filter(
                [1 - _SMOOTHING], [1, -_SMOOTHING], envelope, zi=self._states[stage]
            )
        first = -self._samples % _DECIMATION
        self._samples += len(sound)
        points = envelope[first::_DECIMATION]
        if len(points):
            self._count_active(points)

    def _without_offset(self, sound: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._dc_state is None:
            # As if the time before had been constant: a constant signal gives zeros from its start.
            self._dc_state = -_DC_GAIN * sound[:1]
        filtered: NDArray[np.float64]
        filtered, self._dc_state = self._filter(
            [_DC_GAIN, -_DC_GAIN], [1, -_DC_POLE], sound, zi=self._dc_state
        )
        return filtered

    def _count_active(self, envelope: NDArray[np.float64]) -> None:
        """Count the points at which each threshold was exceeded within the hangover."""
        places = np.arange(len(envelope))
        above = envelope[None, :] >= _THRESHOLDS[:, None]
        last = np.maximum.accumulate(np.where(above, places, -1 - self._since[:, None]), axis=1)
        self._active_points += (places - last <= _HANGOVER_POINTS).sum(axis=1)
        self._since = np.minimum(len(envelope) - 1 - last[:, -1], _HANGOVER_POINTS + 1)

    @property
    def rms(self) -> float:
        """Root mean square of all samples with pauses, in units of int16; 0 without samples."""
        return math.sqrt(self._energy / self._samples) if self._samples else 0.0

    @property
    def active_rms(self) -> float | None:
        """Root mean square during speech, in units of int16; None without speech."""
        active = np.minimum(self._active_points * _DECIMATION, self._samples)
        if self._energy <= 0 or not active[0]:
            return None
        before: tuple[float, float] | None = None
        for threshold, samples in zip(_THRESHOLDS.tolist(), active.tolist(), strict=True):
            if not samples:
                break
            level_db = 10 * math.log10(self._energy / samples)
            margin_db = level_db - 20 * math.log10(threshold)
            if margin_db <= _MARGIN_DB:
                return _between(before, (level_db, margin_db))
            before = (level_db, margin_db)
        # The signal is too faint for the lowest threshold, or no threshold has the margin.
        return _amplitude(before[0]) if before else None


def decibels(amplitude: float) -> float:
    """Convert an amplitude in units of int16 to dBov."""
    return 20 * math.log10(amplitude / FULL_SCALE)


def _between(before: tuple[float, float] | None, after: tuple[float, float]) -> float:
    """Interpolate the amplitude at which the level is the margin above the threshold."""
    if before is None:
        return _amplitude(after[0])
    part = (before[1] - _MARGIN_DB) / (before[1] - after[1])
    return _amplitude(before[0] + part * (after[0] - before[0]))


def _amplitude(level_db: float) -> float:
    return 10 ** float(level_db / 20)
