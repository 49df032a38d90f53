"""Log-mel filterbank features as Kaldi computes them: the input of the speaker embedding. Pure.

Povey et al., "The Kaldi Speech Recognition Toolkit" (2011); the values are those of Kaldi's
``compute-fbank-feats --num-mel-bins=80 --dither=0`` on samples from -1 to 1, with the mean of each
band over the clip subtracted afterwards, as 3D-Speaker does in training.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

Filterbank = NDArray[np.float32]
"""Shape (n, BANDS): natural logarithms of the power, one row for each window."""

BANDS: Final = 80
WINDOW_SAMPLES: Final = 400
"""Length of a window: 25 ms."""
HOP_SAMPLES: Final = 160
"""Distance of windows: 10 ms."""

_TRANSFORM_SAMPLES: Final = 512
_FULL_SCALE: Final = np.float32(32_768)
_PRE_EMPHASIS: Final = np.float32(0.97)
_LOWEST_HZ: Final = 20.0
_SMALLEST_POWER: Final = np.finfo(np.float32).eps
_POVEY_EXPONENT: Final = 0.85


def compute_filterbank(samples: Samples) -> Filterbank:
    """Return the features of a clip, with the mean of each band over the clip subtracted.

    The working copies of the audio are overwritten before the return. Safe for use by several
    threads.

    Args:
        samples: int16, shape (n,), mono, 16 kHz; n at least `WINDOW_SAMPLES`.

    Returns:
        float32, shape (1 + (n - 400) // 160, 80); samples after the last whole window are unused.

    Raises:
        ValueError: there are fewer samples than one window.
    """
    if len(samples) < WINDOW_SAMPLES:
        raise ValueError(f"{len(samples)} samples, fewer than one window of {WINDOW_SAMPLES}")
    audio = sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    padded = np.zeros((len(audio), _TRANSFORM_SAMPLES), np.float32)
    windows = padded[:, :WINDOW_SAMPLES]
    windows[:] = audio
    windows /= _FULL_SCALE
    windows -= windows.mean(axis=1, keepdims=True)
    # The sample before the first of a window counts as equal to it.
    before = windows * _PRE_EMPHASIS
    windows[:, 1:] -= before[:, :-1]
    windows[:, 0] -= before[:, 0]
    before.fill(0)
    windows *= _window()
    spectrum = np.fft.rfft(padded, axis=1)
    padded.fill(0)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    bands: Filterbank = power @ _filters()
    np.maximum(bands, _SMALLEST_POWER, out=bands)
    np.log(bands, out=bands)
    bands -= bands.mean(axis=0)
    return bands


@cache
def _window() -> NDArray[np.float32]:
    """Return Povey's window: a Hann window to the power of 0.85."""
    return (np.hanning(WINDOW_SAMPLES) ** _POVEY_EXPONENT).astype(np.float32)


@cache
def _filters() -> NDArray[np.float32]:
    """Return triangles of height 1, evenly spaced in mel: float32, shape (257, 80)."""
    bins = _to_mel(np.fft.rfftfreq(_TRANSFORM_SAMPLES, 1 / SAMPLE_RATE_HZ))[:, None]
    lowest, highest = _to_mel(np.array([_LOWEST_HZ, SAMPLE_RATE_HZ / 2]))
    edges = np.linspace(lowest, highest, BANDS + 2)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _to_mel(hz: NDArray[np.floating]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
