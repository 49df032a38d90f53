"""Synthetic acoustics: coloured noise and the response of a room. Pure.

Noise whose power falls with frequency, and Polack's model of a room's response, noise that decays
exponentially (Polack 1988), so that no recordings are needed.
"""

from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ

_LOWEST_HZ: Final = 50.0


def make_coloured_noise(
    length_samples: int, random: Generator, exponent: float = 1.0
) -> NDArray[np.float64]:
    """Return noise of root mean square 1.

    Args:
        length_samples: number of samples, at least 1.
        random: chooses the noise.
        exponent: the power falls with the frequency to this exponent above 50 Hz: 0 is white,
            1 pink, 2 brown.

    Returns:
        float64, shape (length_samples,).
    """
    spectrum = np.fft.rfft(random.standard_normal(length_samples))
    frequencies_hz = np.fft.rfftfreq(length_samples, 1 / SAMPLE_RATE_HZ)
    falling = np.maximum(frequencies_hz, _LOWEST_HZ)
    spectrum /= np.sqrt(falling) if exponent == 1.0 else falling ** (exponent / 2)
    noise = np.fft.irfft(spectrum, length_samples)
    return noise / max(root_mean_square(noise), np.finfo(np.float64).tiny)


def make_room_response(
    random: Generator, decay_s: float, direct_to_reverberant_db: float
) -> NDArray[np.float64]:
    """Return the impulse response of a room, from its direct sound of amplitude 1.

    Args:
        random: chooses the reverberation.
        decay_s: time in which the reverberation falls by 60 dB; its length.
        direct_to_reverberant_db: energy of the direct sound over that of the reverberation.

    Returns:
        float64, shape (n,).
    """
    length = round(decay_s * SAMPLE_RATE_HZ)
    envelope = 10 ** (-3 * np.arange(length) / length)
    response = random.standard_normal(length) * envelope
    response *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.square(response).sum())
    response[0] += 1.0
    return response


def convolve_response(
    sound: NDArray[np.float64], response: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return a sound in a room; the reverberation after its end is cut.

    Args:
        sound: shape (n,).
        response: shape (m,).

    Returns:
        float64, shape (n,).
    """
    # A power of two: the transform of a length with a large prime factor takes ten times as long.
    whole = 1 << (len(sound) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(sound, whole) * np.fft.rfft(response, whole)
    made: NDArray[np.float64] = np.fft.irfft(spectrum, whole)[: len(sound)]
    return made


def root_mean_square(sound: NDArray[np.float64]) -> float:
    """Return the root mean square of samples, shape (n,), n at least 1."""
    return float(np.sqrt(np.square(sound).mean()))
