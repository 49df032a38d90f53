"""Sound as Earmark counts it: mono, 16 kHz, int16, in frames of 80 ms, with gaps said aloud.

Time is counted in samples on one line that starts at 0 and goes on through gaps, so a position
in the stream is a position in a recording, and replaying a recording gives the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 16_000
FRAME_SAMPLES: Final = 1_280  # 80 ms, the step of openWakeWord's models

Samples = NDArray[np.int16]


class GapReason(StrEnum):
    """Why there is no sound."""

    START = "start"
    """Nothing came before: a new stream, a new file."""
    MUTED = "muted"
    """The switch or the software says mute."""
    OVERRUN = "overrun"
    """The driver lost samples."""
    LOST = "lost"
    """The device is gone or stalled."""


@dataclass(frozen=True, slots=True)
class Frame:
    """80 ms of sound."""

    samples: Samples
    """int16, shape (1280,), not writeable."""
    first_sample: int
    """Where the frame begins on the stream's line."""

    @property
    def end_sample(self) -> int:
        """Where the next frame begins."""
        return self.first_sample + FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without sound. Nothing may span it."""

    reason: GapReason
    first_sample: int
    """Where the gap begins on the stream's line."""
    length_samples: int = 0
    """How far it moves the line; 0 where nobody knows."""


Sound = Frame | Gap


class Framer:
    """Cut blocks of any length into frames.

    What a gap leaves over of an unfinished frame is dropped and overwritten.
    Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._pending = np.zeros(FRAME_SAMPLES, np.int16)
        self._filled = 0
        self._next_sample = 0
        self.dropped_samples = 0
        """Samples that gaps cut off before they filled a frame."""

    def push(self, block: Samples) -> Iterator[Frame]:
        """Yield the frames that ``block`` completes.

        Args:
            block: int16, shape (n,), any n. Copied; the caller may overwrite it afterwards.
        """
        read = 0
        while read < len(block):
            take = min(FRAME_SAMPLES - self._filled, len(block) - read)
            self._pending[self._filled : self._filled + take] = block[read : read + take]
            self._filled += take
            read += take
            if self._filled == FRAME_SAMPLES:
                samples = self._pending.copy()
                samples.flags.writeable = False
                self._filled = 0
                frame = Frame(samples, self._next_sample)
                self._next_sample += FRAME_SAMPLES
                yield frame

    def cut(self, reason: GapReason, length_samples: int = 0) -> Gap:
        """End the stretch here; wipe what was pending.

        Args:
            reason: why.
            length_samples: how much sound is missing, as far as anyone knows.
        """
        self.dropped_samples += self._filled
        first = self._next_sample
        lost = self._filled + length_samples
        self._pending[:] = 0
        self._filled = 0
        self._next_sample += lost
        return Gap(reason, first, lost)
