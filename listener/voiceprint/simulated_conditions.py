"""Noise and rooms for enrolment: copies of clean speech as if from across a room. Pure.

An enrolment beside the microphone in a quiet moment differs from the speech of later days. Copies
with noise and with reverberation in the mean of the embeddings bring it nearer to them
(multi-condition enrolment). Both are synthetic, so that no recordings are needed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.acoustics import (
    convolve_response,
    make_coloured_noise,
    make_room_response,
    root_mean_square,
)
from listener.audio.pcm import Samples

SIGNAL_TO_NOISE_DB: Final = 10.0
"""Level of the speech above the added noise."""
DECAY_S: Final = 0.4
"""Time in which the reverberation falls by 60 dB: a furnished living room."""
DIRECT_TO_REVERBERANT_DB: Final = 3.0
"""Level of the direct sound above the reverberation: 1 to 2 m from the speaker."""

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
    response = make_room_response(random, DECAY_S, DIRECT_TO_REVERBERANT_DB)
    in_room = _match_level(convolve_response(clean, response), clean)
    noise = make_coloured_noise(len(speech), random)
    noise *= root_mean_square(clean) * 10 ** (-SIGNAL_TO_NOISE_DB / 20)
    return _quantize(in_room), _quantize(clean + noise), _quantize(in_room + noise)


def _match_level(sound: NDArray[np.float64], model: NDArray[np.float64]) -> NDArray[np.float64]:
    level = root_mean_square(sound)
    return sound * (root_mean_square(model) / level) if level else sound


def _quantize(sound: NDArray[np.float64]) -> Samples:
    """Return the sound as int16, made quieter where it would be clipped."""
    peak = float(np.abs(sound).max())
    scaled = sound * min(1.0, _FULL_SCALE / peak) if peak else sound
    return np.rint(scaled).astype(np.int16)
