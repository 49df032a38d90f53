"""Sound as Earmark counts it: mono, 16 kHz, int16, in frames of 80 ms, with gaps said aloud.

Time is counted in samples on one line that starts at 0 and goes on through gaps, so a position
in the stream is a position in a recording, and replaying a recording gives the same numbers.
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
    """Why there is no sound."""

    START = "start"
    """Nothing came before: a new stream, a new file."""
    MUTED = "muted"
    """The switch or the software says mute."""
    OVERRUN = "overrun"
    """The driver lost samples."""
    LOST = "lost"
    """The device is gone or stalled."""
    END = "end"
    """Nothing comes any more: the last file was heard to its end."""


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
    """Where the gap begins on the stream's line: where the frame before it ended."""
    length_samples: int = 0
    """How far it moves the line; 0 where nobody knows."""
    cut_samples: int = 0
    """How many of these were sound that had not filled a frame yet; it was overwritten."""


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

    @property
    def position_samples(self) -> int:
        """How far the line has come: where the next sample of sound will stand."""
        return self._next_sample + self._filled

    def push(self, block: Samples) -> tuple[Frame, ...]:
        """Return the frames that ``block`` completes.

        Args:
            block: int16, shape (n,), any n. Copied; the caller may overwrite it afterwards.
        """
        frames: list[Frame] = []
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
                frames.append(Frame(samples, self._next_sample))
                self._next_sample += FRAME_SAMPLES
        return tuple(frames)

    def cut(self, reason: GapReason, length_samples: int = 0) -> Gap:
        """End the stretch here; wipe what was pending.

        Args:
            reason: why.
            length_samples: how much sound is missing, as far as anyone knows.
        """
        cut = self._filled
        first = self._next_sample
        self._pending[:] = 0
        self._filled = 0
        self._next_sample += cut + length_samples
        return Gap(reason, first, cut + length_samples, cut)
