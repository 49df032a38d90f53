"""Noise and rooms for enrolment: copies of clean speech as if from across a room. Pure.

An enrolment beside the microphone in a quiet moment differs from the speech of later days. Copies
with noise and with reverberation in the mean of the embeddings bring it nearer to them
(multi-condition enrolment). Both are synthetic, so that no recordings are needed: pink noise, and
Polack's model of a room's response, noise that decays exponentially (Polack 1988).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

SIGNAL_TO_NOISE_DB: Final = 10.0
"""Level of the speech above the added noise."""
DECAY_S: Final = 0.4
"""Time in which the reverberation falls by 60 dB: a furnished living room."""
DIRECT_TO_REVERBERANT_DB: Final = 3.0
"""Level of the direct sound above the reverberation: 1 to 2 m from the speaker."""

_LOWEST_HZ: Final = 50.0
_FULL_SCALE: Final = np.iinfo(np.int16).max


def simulate_conditions(speech: Samples, seed: int) -> tuple[Samples, ...]:
    """Return copies of speech in a room, with noise, and with both; at the level of the original.

    Args:
        speech: int16, shape (n,), n at least 1.
        seed: chooses the noise and the room; the same seed gives the same copies.

    Returns:
        Three copies, each int16, shape (n,).
    """
    random = np.random.default_rng(seed)
    clean = speech.astype(np.float64)
    in_room = _match_level(_reverberate(clean, random), clean)
    noise = _pink_noise(len(speech), random)
    noise *= _rms(clean) * 10 ** (-SIGNAL_TO_NOISE_DB / 20)
    return _quantize(in_room), _quantize(clean + noise), _quantize(in_room + noise)


def _pink_noise(length_samples: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return noise whose power falls by 3 dB an octave, root mean square 1."""
    spectrum = np.fft.rfft(random.standard_normal(length_samples))
    frequencies_hz = np.fft.rfftfreq(length_samples, 1 / SAMPLE_RATE_HZ)
    spectrum /= np.sqrt(np.maximum(frequencies_hz, _LOWEST_HZ))
    noise = np.fft.irfft(spectrum, length_samples)
    return noise / max(_rms(noise), np.finfo(np.float64).tiny)


def _reverberate(clean: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    length = round(DECAY_S * SAMPLE_RATE_HZ)
    envelope = 10 ** (-3 * np.arange(length) / length)
    response = random.standard_normal(length) * envelope
    response *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.sqrt(np.square(response).sum())
    response[0] += 1.0
    whole = len(clean) + length
    spectrum = np.fft.rfft(clean, whole) * np.fft.rfft(response, whole)
    made: NDArray[np.float64] = np.fft.irfft(spectrum, whole)[: len(clean)]
    return made


def _match_level(sound: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    level = _rms(sound)
    return sound * (_rms(model) / level) if level else sound


def _rms(sound: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(sound).mean()))


def _quantize(sound: NDArray[np.float64]) -> Samples:
    """Return the sound as int16, made quieter where it would be clipped."""
    peak = float(np.abs(sound).max())
    scaled = sound * min(1.0, _FULL_SCALE / peak) if peak else sound
    return np.rint(scaled).astype(np.int16)
