"""Synthesised sounds: short notes that fade in and out, and the ring of a timer. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from listener.audio.pcm import Samples

BURST_S: Final = 2.0
"""Longest sound of a ring without a pause, in seconds."""
RING_PAUSE_S: Final = 1.5
"""Least time between two bursts in which the microphone's gate is open, in seconds."""
_FADE_S: Final = 0.01
_FULL_SCALE: Final = 32_767
_RING: Final = ((1046.5, 0.12), (0.0, 0.06), (1318.5, 0.12), (0.0, 0.3)) * 3


def synthesize_notes(
    notes: Sequence[tuple[float, float]], rate_hz: int, volume: float = 1.0
) -> Samples:
    """Return notes one after the other.

    Args:
        notes: frequency in Hz (0 for a rest) and length in seconds of each.
        rate_hz: sample rate.
        volume: amplitude relative to full scale, above 0 to 1.

    Returns:
        int16, shape (n,), mono.
    """
    parts = []
    for note_hz, length_s in notes:
        index = np.arange(round(length_s * rate_hz))
        fade = np.minimum(1.0, np.minimum(index, len(index) - index) / (_FADE_S * rate_hz))
        wave = np.sin(2 * np.pi * note_hz * index / rate_hz)
        parts.append(np.rint(volume * _FULL_SCALE * fade * wave).astype(np.int16))
    return np.concatenate(parts)


def synthesize_ring(rate_hz: int, length_s: float, tail_s: float, volume: float = 1.0) -> Samples:
    """Return the ring of a timer: bursts of at most `BURST_S`, with pauses of silence.

    The player opens the microphone's gate in each pause, so that a spoken word can stop the ring.

    Args:
        rate_hz: sample rate.
        length_s: length in seconds, at least one burst.
        tail_s: time after a burst in which the gate is still closed.
        volume: as for `synthesize_notes`.

    Returns:
        int16, shape (n,), mono; it ends with a burst, and n is at most ``length_s`` long.
    """
    burst = synthesize_notes(_RING, rate_hz, volume)
    pause = np.zeros(round((RING_PAUSE_S + tail_s) * rate_hz), np.int16)
    count = (round(length_s * rate_hz) + len(pause)) // (len(burst) + len(pause))
    return np.concatenate([burst, *[pause, burst] * (max(1, count) - 1)])
