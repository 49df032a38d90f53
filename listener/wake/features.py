"""Sound to mel frames, as openWakeWord's ``melspectrogram.onnx`` computes them, in numpy.

A mel frame looks at 512 samples under a periodic Hann window of 400 and comes every 160 samples
(10 ms): the logarithm of the power in 32 bands from 62.5 to 3781 Hz, ``log10(power) + 2``, no
lower than 8 (80 dB) under the loudest band of the last 8 frames.
"""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from listener.sound.pcm import Samples

Floats = NDArray[np.float32]

BANDS: Final = 32
START_LEVEL: Final = 1.0
"""openWakeWord's mel frames before the first sound."""
SILENT_LEVEL: Final = -8.0
"""Every band in digital silence."""

_STRIDE_SAMPLES: Final = 160
_TRANSFORM_SAMPLES: Final = 512
_WINDOW: Final = slice(56, 456)  # the taps that are not zero
_BINS: Final = slice(2, 122)  # the bins that any band looks at
_SMALLEST_POWER: Final = np.float32(1e-10)
_OFFSET: Final = np.float32(2.0)
_RANGE: Final = np.float32(8.0)


class Mel:
    """The mel front end: new samples in, new mel frames out.

    Every buffer is made once. Not safe for use by several threads.
    """

    def __init__(self, weights: Floats, hop_frames: int) -> None:
        """Prepare.

        Args:
            weights: from bins to bands, shape (120, 32).
            hop_frames: mel frames a step, 8 or 4. With 8 the last frame ends 128 samples before
                the end of the step, exactly as openWakeWord's; with 4 it ends with it.
        """
        new = hop_frames * _STRIDE_SAMPLES
        past = 480 if hop_frames == 8 else _TRANSFORM_SAMPLES - _STRIDE_SAMPLES  # noqa: PLR2004 - openWakeWord's own step
        self.hop_samples = new
        """Samples a step."""
        self._unheard_frames = -(-past // _STRIDE_SAMPLES)
        self._samples = np.zeros(past + new, np.float32)
        self._past, self._new = self._samples[:past], self._samples[past:]
        self._kept = self._samples[new:]
        stride = self._samples.strides[0]
        self._frames = as_strided(
            self._samples[_WINDOW.start :],
            (hop_frames, _WINDOW.stop - _WINDOW.start),
            (_STRIDE_SAMPLES * stride, stride),
        )
        turn = 2 * np.pi * np.arange(self._frames.shape[1]) / self._frames.shape[1]
        self._window = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)
        # Where in its 512 samples a frame lies does not change its power: the tail stays zero.
        self._padded = np.zeros((hop_frames, _TRANSFORM_SAMPLES), np.float32)
        self._windowed = self._padded[:, : self._frames.shape[1]]
        self._spectrum = np.zeros((hop_frames, _TRANSFORM_SAMPLES // 2 + 1), np.complex64)
        self._parts = self._spectrum.view(np.float32)[:, 2 * _BINS.start : 2 * _BINS.stop]
        self._squares = np.empty((hop_frames, self._parts.shape[1]), np.float32)
        # Real and imaginary parts lie side by side, and both count.
        self._weights = np.repeat(weights.astype(np.float32), 2, axis=0)
        self._mel = np.empty((hop_frames, BANDS), np.float32)
        self._spans_steps = hop_frames < 8  # noqa: PLR2004 - the range is that of the last 8 frames
        self.restart()

    def restart(self) -> None:
        """Forget everything heard, and wipe it."""
        self._is_first = True
        self._loudest = np.float32(-np.inf)
        for buffer in (self._samples, self._padded, self._spectrum, self._squares, self._mel):
            buffer[:] = 0

    def step(self, samples: Samples) -> Floats:
        """Return the mel frames that ``samples`` complete.

        Args:
            samples: int16, shape (hop_samples,).

        Returns:
            Shape (hop_frames, 32); valid until the next step. On the first step the frames that
            begin before the stream are ``START_LEVEL``.
        """
        np.copyto(self._past, self._kept)
        np.copyto(self._new, samples)
        np.multiply(self._frames, self._window, out=self._windowed)
        np.fft.rfft(self._padded, out=self._spectrum)  # type: ignore[arg-type]  # numpy's stubs know float64 only
        np.multiply(self._parts, self._parts, out=self._squares)
        mel = np.matmul(self._squares, self._weights, out=self._mel)
        np.maximum(mel, _SMALLEST_POWER, out=mel)
        np.log10(mel, out=mel)
        mel += _OFFSET
        if self._is_first:
            self._is_first = False
            mel[: self._unheard_frames] = -np.inf
            self._clip(mel)
            mel[: self._unheard_frames] = START_LEVEL
        else:
            self._clip(mel)
        return mel

    def _clip(self, mel: Floats) -> None:
        loudest = mel.max()
        lowest = max(loudest, self._loudest) if self._spans_steps else loudest
        np.maximum(mel, lowest - _RANGE, out=mel)
        self._loudest = loudest
