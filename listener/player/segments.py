"""Division of a sound at its pauses, in which the microphone's gate is open. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import Samples

PAUSE_S: Final = 1.0
"""Least length of silence that is a pause, in seconds."""
SILENT: Final = 8
"""Highest absolute sample that is silence, of 32,768."""


@dataclass(frozen=True, slots=True)
class SoundSegment:
    """A stretch of sound, and the pause behind it."""

    first_sample: int
    end_sample: int
    pause_samples: int
    """Silence behind it; 0 at the end."""


def split_at_pauses(samples: Samples, rate_hz: int) -> list[SoundSegment]:
    """Return the stretches of sound; silence shorter than `PAUSE_S` belongs to them.

    Silence before the first one and behind the last one is left out.

    Args:
        samples: int16, shape (n,).
        rate_hz: sample rate.
    """
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENT)
    if not len(loud):
        return []
    breaks = np.flatnonzero(np.diff(loud) > round(PAUSE_S * rate_hz))
    firsts = [int(loud[0]), *(int(at) for at in loud[breaks + 1])]
    ends = [*(int(at) + 1 for at in loud[breaks]), int(loud[-1]) + 1]
    following = [*firsts[1:], ends[-1]]
    return [
        SoundSegment(first, end, after - end)
        for first, end, after in zip(firsts, ends, following, strict=True)
    ]
