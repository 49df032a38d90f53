"""Log-mel spectrogram of Whisper. Pure.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.1;
the scale and the filters are those of the published implementation: windows of 25 ms every 10 ms,
80 triangular filters of equal area on Slaney's mel scale, values from 8 decades below the maximum.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from listener.audio.pcm import Samples

RATE_HZ: Final = 16_000
WINDOW_SAMPLES: Final = 400
HOP_SAMPLES: Final = 160
BANDS: Final = 80

_LINEAR_HZ_PER_MEL: Final = 200 / 3
_LOG_FROM_HZ: Final = 1000.0
_LOG_STEP: Final = np.log(6.4) / 27
_FLOOR: Final = 1e-10
_DECADES: Final = 8.0

Spectrogram = npt.NDArray[np.float32]
"""Shape (BANDS, n): n windows, about -1 to 1.5."""


def compute_spectrogram(samples: Samples, windows: int) -> Spectrogram:
    """Return the log-mel spectrogram of a clip, padded with silence or cut.

    Args:
        samples: int16, shape (n,), mono, 16 kHz.
        windows: number of windows of the result, 10 ms each.
    """
    wanted = windows * HOP_SAMPLES
    signal = np.zeros(wanted, np.float64)
    length = min(len(samples), wanted)
    signal[:length] = samples[:length] / 32_768.0
    half = WINDOW_SAMPLES // 2
    signal = np.pad(signal, half, mode="reflect")
    framed = np.lib.stride_tricks.sliding_window_view(signal, WINDOW_SAMPLES)[::HOP_SAMPLES]
    # Periodic, as torch.hann_window.
    window = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    power = np.abs(np.fft.rfft(framed[:windows] * window, axis=1)) ** 2
    decades = np.log10(np.maximum(_filters() @ power.T, _FLOOR))
    decades = np.maximum(decades, decades.max() - _DECADES)
    spectrogram: Spectrogram = ((decades + 4.0) / 4.0).astype(np.float32)
    return spectrogram


@cache
def _filters() -> npt.NDArray[np.float64]:
    bins = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / RATE_HZ)
    edges = _to_hz(np.linspace(0.0, _to_mel(RATE_HZ / 2), BANDS + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    filters: npt.NDArray[np.float64] = weights * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return filters


def _to_mel(hz: float) -> float:
    return float(_LOG_FROM_HZ / _LINEAR_HZ_PER_MEL + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    border = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
    linear = mel * _LINEAR_HZ_PER_MEL
    hz: npt.NDArray[np.float64] = np.where(
        mel < border, linear, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - border))
    )
    return hz
