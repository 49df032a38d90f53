"""Ring buffer of the last seconds of audio, addressed by position in the stream."""

from typing import Final

import numpy as np

from listener.audio.pcm import Frame, Samples


class Ring:
    """Ring buffer in memory of the caller, which is never reallocated.

    New samples overwrite the oldest. Not safe for use by several threads.
    """

    def __init__(self, buffer: Samples) -> None:
        """Take ``buffer`` and overwrite it.

        Args:
            buffer: int16, shape (n,), contiguous and writeable, for the exclusive use of this
                object; a whole number of frames keeps each frame contiguous.
        """
        self._buffer: Final = buffer
        self._first_sample = 0
        self._end_sample = 0
        self.wipe()

    @property
    def first_sample(self) -> int:
        """Position of the oldest sample; ``end_sample`` if the buffer is empty."""
        return self._first_sample

    @property
    def end_sample(self) -> int:
        """Position of the next sample."""
        return self._end_sample

    def push(self, frame: Frame) -> None:
        """Add a frame; overwrite as many of the oldest samples.

        Raises:
            ValueError: the frame does not begin where the previous one ended without a `wipe` in
                between, or it is longer than the buffer. Both are faults of the program.
        """
        count = len(frame.samples)
        if self._first_sample == self._end_sample:
            self._first_sample = self._end_sample = frame.first_sample
        if frame.first_sample != self._end_sample or count > len(self._buffer):
            raise ValueError(
                "the frame does not follow the previous one or does not fit the ring buffer"
            )
        at = self._end_sample % len(self._buffer)
        until_edge = min(count, len(self._buffer) - at)
        self._buffer[at : at + until_edge] = frame.samples[:until_edge]
        self._buffer[: count - until_edge] = frame.samples[until_edge:]
        self._end_sample += count
        self._first_sample = max(self._first_sample, self._end_sample - len(self._buffer))

    def read(self, first_sample: int, end_sample: int) -> Samples:
        """Return a copy of the samples from ``first_sample`` up to ``end_sample``.

        Returns:
            int16, shape (end_sample - first_sample,).

        Raises:
            LookupError: a part is overwritten, or has not been recorded yet.
        """
        into = np.empty(max(0, end_sample - first_sample), np.int16)
        self.read_into(into, first_sample)
        return into

    def read_into(self, into: Samples, first_sample: int) -> None:
        """Copy ``len(into)`` samples from ``first_sample`` on into memory of the caller.

        Args:
            into: int16, shape (n,); locked memory if the copy must not reach swap.
            first_sample: position of the first sample.

        Raises:
            LookupError: a part is overwritten, or has not been recorded yet.
        """
        if first_sample < self._first_sample or first_sample + len(into) > self._end_sample:
            raise LookupError("these samples are not in the ring buffer")
        at = first_sample % len(self._buffer)
        until_edge = min(len(into), len(self._buffer) - at)
        into[:until_edge] = self._buffer[at : at + until_edge]
        into[until_edge:] = self._buffer[: len(into) - until_edge]

    def wipe(self) -> None:
        """Overwrite every sample in place; the buffer is then empty."""
        self._buffer.fill(0)
        self._first_sample = self._end_sample
