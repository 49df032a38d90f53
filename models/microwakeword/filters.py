"""The bands of TensorFlow Lite Micro's audio front end, as its library computes them.

Triangles on a mel scale, in units of 2**-12; each bin of the spectrum is divided between the two
bands that it lies between. The original computes in 32-bit floating point, and a device reads the
table from a file, so that no mathematical library on it can round a weight differently.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.wakeword.micro_features import CHANNELS, TRANSFORM_SAMPLES

LOWEST_HZ: Final = 125.0
HIGHEST_HZ: Final = 7500.0
_BITS: Final = 12
_HALF_BIN: Final = 1.5  # the bin of 0 Hz is left out


def make_filters() -> NDArray[np.int16]:
    """Return the weights from bins to channels, shape (bins, 40)."""
    lowest = _mel(np.float32(LOWEST_HZ))
    spacing = (_mel(np.float32(HIGHEST_HZ)) - lowest) / np.float32(CHANNELS + 1)
    centres = [lowest + spacing * np.float32(index + 1) for index in range(CHANNELS + 1)]
    bin_hz = np.float32(SAMPLE_RATE_HZ / TRANSFORM_SAMPLES)
    first = int(_HALF_BIN + LOWEST_HZ / bin_hz)
    rising = np.zeros((TRANSFORM_SAMPLES // 2 + 1, CHANNELS + 1), np.int16)
    falling = np.zeros_like(rising)
    place, begin = first, lowest
    for band, end in enumerate(centres):
        while (mel := _mel(np.float32(place * bin_hz))) <= end:
            share = float((end - mel) / (end - begin))
            falling[place, band] = np.floor(share * (1 << _BITS) + 0.5)
            rising[place, band] = np.floor((1 - share) * (1 << _BITS) + 0.5)
            place += 1
        begin = end
    # Each bin rises into the next band; what falls from the first band is left out.
    return falling[:place, 1:] + rising[:place, :-1]


def _mel(frequency_hz: np.float32) -> np.float32:
    return np.float32(1127.0 * float(np.log1p(frequency_hz / np.float32(700.0))))
