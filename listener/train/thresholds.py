"""The threshold for a rate of false wakes, from scores of recordings without the word. Pure.

A threshold is fixed on recordings that trained nothing, and on the same recordings the rate at it
is optimistic. The trigger's own rule counts: a run of high scores is one false wake.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from listener.audio.pcm import FRAME_SAMPLES
from listener.evaluate.metrics.counting import find_wakes
from listener.evaluate.metrics.intervals import Rate, poisson, wilson
from listener.wakeword.detector import Rule
from listener.wakeword.features import Floats

PATIENCE_FRAMES: Final = 2
"""Frames in a row at or above the threshold that make a wake: false wakes are short peaks."""
MARGIN: Final = 0.1
"""Logit between the highest score that must not wake and the threshold."""
ALLOWED: Final = (0, 1, 2, 4, 8)
"""Numbers of false wakes for which a report lists thresholds."""


@dataclass(frozen=True, slots=True)
class Track:
    """The logits of one recording without the word."""

    source: str
    logits: Floats
    """Sustained logits of the steps that have a score, see `sustain`, float32, shape (steps,)."""
    seconds: float
    """Length of the recording."""


def sustain(logits: Floats) -> Floats:
    """Return for each step the least logit of the last `PATIENCE_FRAMES` steps.

    A threshold is reached in it where the trigger's patience is.

    Args:
        logits: of successive steps, float32, shape (steps,).

    Returns:
        float32, shape (steps - PATIENCE_FRAMES + 1,), empty for fewer steps.
    """
    if len(logits) < PATIENCE_FRAMES:
        return np.zeros(0, np.float32)
    least: Floats = sliding_window_view(logits, PATIENCE_FRAMES).min(axis=1)
    return least


def count_false_wakes(tracks: Sequence[Track], logit: float, refractory_samples: int) -> int:
    """Return the number of wakes at a threshold."""
    rule = Rule(threshold=logit, refractory_samples=refractory_samples)
    return sum(len(find_wakes(_ends(track.logits), track.logits, rule)) for track in tracks)


def lowest_threshold(tracks: Sequence[Track], allowed: int, refractory_samples: int) -> float:
    """Return the lowest logit at which there are at most ``allowed`` false wakes, and the margin.

    Args:
        tracks: recordings without the word, with a step in any.
        allowed: false wakes that are accepted, at least 0.
        refractory_samples: time after a wake without another wake.
    """
    scores = np.unique(np.concatenate([track.logits for track in tracks]))[::-1]
    # With the threshold at a score there is a wake; a higher threshold never gives more.
    low, high = 0, len(scores)
    while low < high:
        middle = (low + high) // 2
        if count_false_wakes(tracks, float(scores[middle]), refractory_samples) <= allowed:
            low = middle + 1
        else:
            high = middle
    blocked = scores[low] if low < len(scores) else scores[-1]
    return float(blocked) + MARGIN


def measure_false_wakes(tracks: Sequence[Track], logit: float, refractory_samples: int) -> Rate:
    """Return the false wakes per hour at a threshold, with the exact Poisson interval."""
    return poisson(count_false_wakes(tracks, logit, refractory_samples), hours(tracks))


def measure_misses(highest: Floats, logit: float) -> Rate:
    """Return the words missed at a threshold, with Wilson's interval.

    Args:
        highest: highest logit of each spoken word, shape (words,).
        logit: the threshold.
    """
    return wilson(float((highest < logit).sum()), len(highest))


def hours(tracks: Sequence[Track]) -> float:
    """Return the length of recordings in hours."""
    return sum(track.seconds for track in tracks) / 3600


def _ends(logits: Floats) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.arange(1, len(logits) + 1) * FRAME_SAMPLES
