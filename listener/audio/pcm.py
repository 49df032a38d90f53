"""PCM audio: mono, 16 kHz, int16, in frames of 80 ms, with explicit gaps.

Positions are counted in samples from 0 at the start of the stream and continue through gaps, so a
position in the stream is a position in the recording, and a replay gives the same numbers.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 1_280  # 80 ms, the step of openWakeWord's models

Samples = NDArray[np.int16]


class GapReason(StrEnum):
    """Reason for a gap."""

    START = "start"
    """Start of a stream or a file."""
    MUTED = "muted"
    """Muted by switch or software."""
    OVERRUN = "overrun"
    """Samples lost by the driver."""
    LOST = "lost"
    """Device removed or stalled."""
    PLAYBACK = "playback"
    """The device's own loudspeaker sounded; the microphone's samples were overwritten."""
    END = "end"
    """End of the last file."""


@dataclass(frozen=True, slots=True)
class Frame:
    """80 ms of audio."""

    samples: Samples
    """int16, shape (1280,), read-only."""
    first_sample: int
    """Position of the first sample."""
    has_own_sound: bool = False
    """Whether the device's own loudspeaker may sound in it: where the card cancels its echo, and
    during a chime at the wake. Elsewhere its sound is a gap."""

    @property
    def end_sample(self) -> int:
        """Position of the first sample after the frame."""
        return self.first_sample + FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without audio; no clip and no score spans it."""

    reason: GapReason
    """Reason for the gap."""
    first_sample: int
    """Start of the gap: the end of the frame before it."""
    length_samples: int = 0
    """Length in samples; 0 if unknown."""
    cut_samples: int = 0
    """Samples of it that were received but did not fill a frame; they were overwritten."""


Sound = Frame | Gap


class Framer:
    """Converter from blocks of any length to frames.

    A gap drops and overwrites an unfinished frame.
    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._pending = np.zeros(FRAME_SAMPLES, np.int16)
        self._filled = 0
        self._next_sample = 0
        self._has_own_sound = False

    @property
    def position_samples(self) -> int:
        """Position of the next sample."""
        return self._next_sample + self._filled

    def push(self, block: Samples, *, has_own_sound: bool = False) -> tuple[Frame, ...]:
        """Return the frames completed by ``block``.

        Args:
            block: int16, shape (n,), any n. Copied; the caller may overwrite it afterwards.
            has_own_sound: whether the device's own loudspeaker may sound in it.
        """
        frames: list[Frame] = []
        read = 0
        while read < len(block):
            take = min(FRAME_SAMPLES - self._filled, len(block) - read)
            self._pending[self._filled : self._filled + take] = block[read : read + take]
            self._filled += take
            read += take
            self._has_own_sound |= has_own_sound
            if self._filled == FRAME_SAMPLES:
                samples = self._pending.copy()
                samples.flags.writeable = False
                self._filled = 0
                frames.append(Frame(samples, self._next_sample, self._has_own_sound))
                self._has_own_sound = False
                self._next_sample += FRAME_SAMPLES
        return tuple(frames)

    def cut(self, reason: GapReason, length_samples: int = 0) -> Gap:
        """Start a gap; overwrite the unfinished frame.

        Args:
            reason: reason for the gap.
            length_samples: missing samples; 0 if unknown.
        """
        cut = self._filled
        first = self._next_sample
        self._pending[:] = 0
        self._filled = 0
        self._has_own_sound = False
        self._next_sample += cut + length_samples
        return Gap(reason, first, cut + length_samples, cut)
