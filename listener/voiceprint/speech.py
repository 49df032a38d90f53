"""The speech of a clip that is embedded: without silence, and at most 3 s of it. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

SPEECH_PROBABILITY: Final = 0.5
"""Probability of a voice activity detector from which a step is speech."""
PADDING_S: Final = 0.1
"""Time before and after speech that is kept: the detector is late at both ends."""
MIN_SPEECH_SAMPLES: Final = SAMPLE_RATE_HZ * 3 // 2
"""Least speech that is attributed, 1.5 s, after silence was removed."""
MAX_SPEECH_SAMPLES: Final = SAMPLE_RATE_HZ * 3
"""Most speech that is embedded, 3 s."""


Stretch = tuple[int, int]
"""First sample and end sample (exclusive), in a clip."""


def find_speech(
    probabilities: Sequence[float], step_samples: int, threshold: float = SPEECH_PROBABILITY
) -> tuple[Stretch, ...]:
    """Return the stretches of speech in a clip, in order and disjoint.

    Args:
        probabilities: probability of speech of each step from the start, 0 to 1; samples after the
            last step are not speech.
        step_samples: samples of a step, e.g. 512 or a frame.
        threshold: probability from which a step is speech.
    """
    steps = np.asarray(probabilities, np.float64) >= threshold
    if not steps.any():
        return ()
    padding = -(-round(PADDING_S * SAMPLE_RATE_HZ) // step_samples)
    # Not "same": that has the length of the longer of both.
    padded = np.convolve(steps, np.ones(2 * padding + 1)) > 0
    speech = padded[padding : padding + len(steps)]
    edges = np.flatnonzero(np.diff(speech, prepend=False, append=False)).reshape(-1, 2)
    return tuple((int(first) * step_samples, int(end) * step_samples) for first, end in edges)


def measure_stretches(stretches: Sequence[Stretch]) -> int:
    """Return the length of stretches together, in samples."""
    return sum(end - first for first, end in stretches)


def cut_stretches(stretches: Sequence[Stretch], first: int, end: int) -> tuple[Stretch, ...]:
    """Return what of the stretches lies between two samples of the clip."""
    cut = ((max(low, first), min(high, end)) for low, high in stretches)
    return tuple((low, high) for low, high in cut if low < high)


def choose_loudest(
    samples: Samples, stretches: Sequence[Stretch], step_samples: int
) -> tuple[Stretch, ...]:
    """Return the 3 s of speech with the most energy, or all of it if it is shorter.

    As `find_loudest`, in whole steps, and without a copy of the audio: the energy of each step is
    all that is computed.

    Args:
        samples: int16, shape (n,): the clip.
        stretches: its speech, from `find_speech`.
        step_samples: samples of a step.

    Returns:
        Stretches of together at most `MAX_SPEECH_SAMPLES`.
    """
    if measure_stretches(stretches) <= MAX_SPEECH_SAMPLES:
        return tuple(stretches)
    steps = [
        (first, min(first + step_samples, end))
        for low, end in stretches
        for first in range(low, end, step_samples)
    ]
    count = MAX_SPEECH_SAMPLES // step_samples
    energy = np.cumsum([0.0, *(_energy(samples[first:end]) for first, end in steps)])
    first_step = int((energy[count:] - energy[:-count]).argmax())
    return cut_stretches(stretches, steps[first_step][0], steps[first_step + count - 1][1])


def select_speech(samples: Samples, probabilities: Sequence[float], step_samples: int) -> Samples:
    """Return the speech of a clip, joined.

    Args:
        samples: int16, shape (n,), 16 kHz.
        probabilities: as for `find_speech`.
        step_samples: samples of a step.

    Returns:
        A copy, int16, shape (m,), m at most n; empty without speech.
    """
    stretches = find_speech(probabilities, step_samples)
    parts = [samples[first:end] for first, end in stretches]
    return np.concatenate([samples[:0], *parts])


def find_loudest(samples: Samples, length_samples: int = MAX_SPEECH_SAMPLES) -> Samples:
    """Return the stretch of a given length with the most energy; shorter audio unchanged.

    Args:
        samples: int16, shape (n,).
        length_samples: length of the stretch, at least 1.

    Returns:
        A view, int16, shape (min(n, length_samples),).
    """
    if len(samples) <= length_samples:
        return samples
    energy = np.concatenate([[0], np.cumsum(samples.astype(np.int64) ** 2)])
    first = int((energy[length_samples:] - energy[:-length_samples]).argmax())
    return samples[first : first + length_samples]


def _energy(step: Samples) -> float:
    scaled = step.astype(np.float32)
    energy = float(scaled @ scaled)
    scaled.fill(0)
    return energy
