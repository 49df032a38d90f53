"""Mel frames from audio in numpy, equal to those of openWakeWord's ``melspectrogram.onnx``.

A mel frame covers 512 samples under a periodic Hann window of 400 and comes every 160 samples
(10 ms): the logarithm of the power in 32 bands from 62.5 to 3781 Hz, ``log10(power) + 2``, no
lower than 8 (80 dB) under the loudest band of the last 8 frames.
"""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from listener.audio.pcm import Samples

Floats = NDArray[np.float32]

BANDS: Final = 32
START_LEVEL: Final = 1.0
"""Value of openWakeWord's mel frames before the start of the stream."""
SILENT_LEVEL: Final = -8.0
"""Value of every band in digital silence."""

_STRIDE_SAMPLES: Final = 160
_TRANSFORM_SAMPLES: Final = 512
_MIDDLE: Final = 256  # the tap of a frame where the window is 1
_MIDDLE_TAPS: Final = 200  # taps on either side of it where it is not 0
_BINS: Final = range(2, 122)  # the bins of the spectrum with a weight in any band
_OFFSET: Final = 2
_SMALLEST_POWER: Final = np.float32(1e-10 * 10**_OFFSET)
_RANGE: Final = np.float32(8.0)
_RANGE_FRAMES: Final = 8


class Mel:
    """Mel front end: takes samples, returns mel frames.

    Every buffer is allocated once. Not safe for use by several threads.
    """

    def __init__(self, weights: Floats, hop_frames: int, steps: int = 1) -> None:
        """Allocate the buffers.

        Args:
            weights: from bins to bands, float32, shape (120, 32).
            hop_frames: mel frames in a step, 8 or 4. With 8 the last frame ends 128 samples before
                the end of the step, as in openWakeWord; with 4 it ends with the step.
            steps: steps computed at once, for recordings; above 1 only with 8 frames in a step.
        """
        self._steps = steps
        hop_frames *= steps
        new = hop_frames * _STRIDE_SAMPLES
        past = _TRANSFORM_SAMPLES - _STRIDE_SAMPLES if hop_frames < _RANGE_FRAMES else 480
        self.hop_samples = new
        """Samples taken by `step`."""
        self._unheard_frames = -(-past // _STRIDE_SAMPLES)
        self._samples = np.zeros(past + new, np.float32)
        self._past, self._new = self._samples[:past], self._samples[past:]
        self._kept = self._samples[new:]
        # The window is even around its middle tap: the even part of a frame around it gives the
        # real part of the spectrum and the odd part the imaginary part, with half the products.
        stride = self._samples.strides[0]
        middle = self._samples[_MIDDLE:]
        shape, step = (hop_frames, _MIDDLE_TAPS), _STRIDE_SAMPLES * stride
        self._after = as_strided(middle, shape, (step, stride))
        self._before = as_strided(middle, shape, (step, -stride))
        self._halves = np.empty((2, hop_frames, _MIDDLE_TAPS), np.float32)
        self._even, self._odd = self._halves
        self._ahead = np.empty((hop_frames, _MIDDLE_TAPS), np.float32)
        self._waves = _waves()
        self._parts = np.empty((2, hop_frames, self._waves.shape[2]), np.float32)
        self._power, self._imaginary = self._parts
        # An offset after the logarithm is a factor before it.
        self._weights = np.ascontiguousarray(weights * np.float32(10**_OFFSET))
        self._mel = np.empty((hop_frames, BANDS), np.float32)
        self._is_first = True
        self._loudest = np.float32(-np.inf)
        self._silence = np.zeros(new, np.int16)
        self._spans_steps = hop_frames < _RANGE_FRAMES
        self._by_step = self._mel.reshape(steps, -1)
        self.restart()

    def restart(self) -> None:
        """Overwrite all audio and start anew."""
        self._samples[:] = 0
        # One step over silence overwrites the intermediate buffers, too.
        self.step(self._silence)
        self._is_first = True
        self._loudest = np.float32(-np.inf)

    def step(self, samples: Samples) -> Floats:
        """Return the mel frames completed by ``samples``.

        Args:
            samples: int16, shape (hop_samples,).

        Returns:
            Shape (hop_frames * steps, 32); valid until the next step. On the first step the
            frames that begin before the stream are ``START_LEVEL``.
        """
        np.copyto(self._past, self._kept)
        np.copyto(self._new, samples)
        # Copied first: sums of overlapping views would make numpy allocate temporary copies and
        # free them without overwriting. It is also faster.
        ahead, even, odd = self._ahead, self._even, self._odd
        np.copyto(ahead, self._after)
        np.copyto(odd, self._before)
        np.add(ahead, odd, out=even)
        np.subtract(ahead, odd, out=odd)
        parts = np.matmul(self._halves, self._waves, out=self._parts)
        np.multiply(parts, parts, out=parts)
        power = np.add(self._power, self._imaginary, out=self._power)
        mel = np.matmul(power, self._weights, out=self._mel)
        np.maximum(mel, _SMALLEST_POWER, out=mel)
        np.log10(mel, out=mel)
        if self._is_first:
            self._is_first = False
            mel[: self._unheard_frames] = -np.inf
            self._clip(mel)
            mel[: self._unheard_frames] = START_LEVEL
        else:
            self._clip(mel)
        return mel

    def _clip(self, mel: Floats) -> None:
        if self._steps > 1:
            loudest = np.maximum.reduce(self._by_step, axis=1, keepdims=True)
            np.maximum(self._by_step, loudest - _RANGE, out=self._by_step)
            return
        loudest = np.maximum.reduce(mel, axis=None)
        lowest = max(loudest, self._loudest) if self._spans_steps else loudest
        np.maximum(mel, lowest - _RANGE, out=mel)
        self._loudest = loudest


def _waves() -> Floats:
    """Return windowed cosines and sines around the middle tap, float32, shape (2, 200, 120)."""
    taps = np.arange(_MIDDLE_TAPS)[:, None]
    window = 0.5 + 0.5 * np.cos(np.pi * taps / _MIDDLE_TAPS)
    window[0] /= 2  # the tap that both halves share
    turn = 2 * np.pi * taps * np.array(_BINS) / _TRANSFORM_SAMPLES
    return np.stack([np.cos(turn) * window, np.sin(turn) * window]).astype(np.float32)
