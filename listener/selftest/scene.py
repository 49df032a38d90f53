"""What the selftest plays: stretches of the watermark, silence, and one spoken wake word."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.selftest.watermark import BLOCK_SAMPLES, Watermark

MARGIN_S: Final = 3 * FRAME_SAMPLES / SAMPLE_RATE_HZ
"""A frame is read, one is being judged, one is what the microphone may hold back."""

_SETTLE_S: Final = 0.5
_MUTE_AFTER_S: Final = 0.8
_MUTE_S: Final = 1.6
_MUTED_PLAY_S: Final = 0.2
_BEFORE_WORD_S: Final = 1.0
_AFTER_S: Final = 5.0
"""A busy machine may take as long from the last moment until it looks; hear ends with the sound."""
_FAINT: Final = 3
"""Silence has a bit of noise: a device that gives nothing but zeros counts as broken."""


@dataclass(frozen=True, slots=True)
class WatermarkScene:
    """The sound, and when to look, in seconds from its beginning."""

    samples: Samples
    """int16, shape (n,)."""
    full_s: float
    """The watermark has been played for longer than the ring."""
    forgotten_s: float
    """It has been over for the ring's length."""
    mute_s: float
    """The switch is thrown, in the midst of the watermark."""
    muted_s: float
    """It has been thrown for long enough that nothing is in flight."""
    unmute_s: float
    """The switch is released."""
    sealed_s: float
    """The clip after the word has been over for the ring's length."""

    @property
    def length_s(self) -> float:
        """How long all of it takes."""
        return len(self.samples) / SAMPLE_RATE_HZ


def compose(watermark: Watermark, word: Samples, ring_s: float, clip_s: float) -> WatermarkScene:
    """Lay out the scene.

    Args:
        watermark: the signal.
        word: somebody says the wake word; int16, shape (n,).
        ring_s: how long sound may exist.
        clip_s: how much watermark follows the word.
    """
    chance = np.random.default_rng(0)
    parts: list[Samples] = []
    blocks = 0

    def now_s() -> float:
        return sum(map(len, parts)) / SAMPLE_RATE_HZ

    def be_silent(length_s: float) -> None:
        length = round(length_s * SAMPLE_RATE_HZ)
        parts.append(chance.integers(-_FAINT, _FAINT, length, np.int16, endpoint=True))

    def mark(length_s: float) -> None:
        nonlocal blocks
        first, blocks = blocks, blocks + round(length_s * SAMPLE_RATE_HZ) // BLOCK_SAMPLES
        parts.append(watermark.signal(first, blocks))

    mark(ring_s + _SETTLE_S)
    full_s = now_s()
    forgotten_s = full_s + ring_s + MARGIN_S
    be_silent(ring_s + MARGIN_S + _SETTLE_S)
    mute_s = now_s() + _MUTE_AFTER_S
    mark(_MUTE_AFTER_S + _MUTED_PLAY_S)
    unmute_s = mute_s + _MUTE_S
    be_silent(_MUTE_S - _MUTED_PLAY_S + _BEFORE_WORD_S)
    parts.append(word)
    mark(clip_s)
    sealed_s = now_s() + ring_s + MARGIN_S
    be_silent(ring_s + MARGIN_S + _AFTER_S)
    return WatermarkScene(
        samples=np.concatenate(parts),
        full_s=full_s - MARGIN_S,
        forgotten_s=forgotten_s,
        mute_s=mute_s,
        muted_s=mute_s + _MUTED_PLAY_S + MARGIN_S,
        unmute_s=unmute_s,
        sealed_s=sealed_s,
    )
