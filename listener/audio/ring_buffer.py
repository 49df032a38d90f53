"""The last seconds of sound, and nothing older: one buffer, addressed by absolute sample index."""

from typing import Final

import numpy as np

from listener.audio.pcm import Frame, Samples


class Ring:
    """A circle of sound in memory that the caller gives and that never moves or grows.

    Whatever is pushed overwrites the oldest. Not safe for use by several threads.
    """

    def __init__(self, buffer: Samples) -> None:
        """Take ``buffer`` and wipe it.

        Args:
            buffer: int16, shape (n,), contiguous and writeable; a whole number of frames keeps
                each frame in one piece. Nobody else may use it.
        """
        self._buffer: Final = buffer
        self._first_sample = 0
        self._end_sample = 0
        self.wipe()

    @property
    def first_sample(self) -> int:
        """Where the oldest sample that still exists stands; ``end_sample`` when there is none."""
        return self._first_sample

    @property
    def end_sample(self) -> int:
        """Where the next sample is expected."""
        return self._end_sample

    def push(self, frame: Frame) -> None:
        """Take a frame in; overwrite as many of the oldest samples.

        Raises:
            ValueError: the frame does not begin where the last one ended and nobody wiped
                between, or it is longer than the ring. Both are faults of the program.
        """
        count = len(frame.samples)
        if self._first_sample == self._end_sample:
            self._first_sample = self._end_sample = frame.first_sample
        if frame.first_sample != self._end_sample or count > len(self._buffer):
            raise ValueError("a frame must follow the last one and fit the ring")
        at = self._end_sample % len(self._buffer)
        until_edge = min(count, len(self._buffer) - at)
        self._buffer[at : at + until_edge] = frame.samples[:until_edge]
        self._buffer[: count - until_edge] = frame.samples[until_edge:]
        self._end_sample += count
        self._first_sample = max(self._first_sample, self._end_sample - len(self._buffer))

    def read(self, first_sample: int, end_sample: int) -> Samples:
        """Return a copy of the sound from ``first_sample`` up to ``end_sample``.

        Returns:
            int16, shape (end_sample - first_sample,).

        Raises:
            LookupError: part of it is forgotten, or has not been heard yet.
        """
        into = np.empty(max(0, end_sample - first_sample), np.int16)
        self.read_into(into, first_sample)
        return into

    def read_into(self, into: Samples, first_sample: int) -> None:
        """Copy ``len(into)`` samples from ``first_sample`` on to where the caller wants them.

        Args:
            into: int16, shape (n,); locked memory, where the copy must not outlive its use.
            first_sample: where to begin on the stream's line.

        Raises:
            LookupError: part of it is forgotten, or has not been heard yet.
        """
        if first_sample < self._first_sample or first_sample + len(into) > self._end_sample:
            raise LookupError("these samples are not in the ring buffer")
        at = first_sample % len(self._buffer)
        until_edge = min(len(into), len(self._buffer) - at)
        into[:until_edge] = self._buffer[at : at + until_edge]
        into[until_edge:] = self._buffer[: len(into) - until_edge]

    def wipe(self) -> None:
        """Overwrite every sample in place; what was pushed exists no longer."""
        self._buffer.fill(0)
        self._first_sample = self._end_sample
