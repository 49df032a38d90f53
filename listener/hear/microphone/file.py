"""Interface of a microphone, and recordings as one. Only the gate may import this module.

A recording implements the same interface, so that the demo, the tests and a device share one path.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason, Samples
from listener.errors import EarmarkError, Unavailable
from listener.storage.recordings import Recording, describe_short, open_recording


class Microphone(Protocol):
    """Source of sound that the gate reads and closes. One thread.

    The first `read`, and the first after `close`, opens it.
    """

    def read(self) -> Samples | GapReason | int | None:
        """Wait for the next block, at most one frame's time.

        Returns:
            A block: int16, shape (n,), at most one frame, which the caller may overwrite; empty
            when there is no sound yet or the switch must be read. Or the reason of a gap between
            the last block and the next. Or the count of samples that passed without a device. Or
            None at the end.

        Raises:
            Unavailable: the source failed. The next `read` continues with what follows.
        """

    def close(self) -> None:
        """Close the device and wipe every sample; safe to repeat."""

    def skip(self) -> int | None:
        """Wait at most one frame's time while muted; an edge of the switch ends the wait.

        Returns:
            Count of the samples that were skipped; None at the end.

        Raises:
            Unavailable: as `read`.
        """


class FileMicrophone:
    """Recordings read one after the other, in real time or as fast as possible. One thread."""

    def __init__(
        self,
        paths: Sequence[Path],
        channel: int,
        pace: "RealTimePacer | None",
    ) -> None:
        """Open every file once, so that a missing one is reported before the first is read.

        Args:
            paths: at least one file.
            channel: channel of each file to read, from 0.
            pace: delays each block to real time; None reads as fast as possible.

        Raises:
            Unavailable: a file is missing or cannot be read.
            UsageError: a file has no such channel.
        """
        for path in paths:
            open_recording(path, channel).close()
        self._queue = list(paths)
        self._channel: Final = channel
        self._pace: Final = pace
        self._recording: Recording | None = None
        self._read_samples = 0
        self._is_started = False

    def read(self) -> Samples | GapReason | None:
        """Return up to one frame, int16; in real time, not before its end was due.

        Raises:
            Unavailable: a file is damaged, or is shorter than a step.
        """
        while True:
            if self._recording is None:
                if not self._queue:
                    return None
                self._recording = open_recording(self._queue.pop(0), self._channel)
                self._read_samples = 0
                if self._is_started:
                    return GapReason.START
                self._is_started = True
            try:
                block = self._recording.read(FRAME_SAMPLES)
            except EarmarkError:
                self._recording.close()
                self._recording = None
                raise
            if block is not None:
                self._read_samples += len(block)
                if self._pace is not None:
                    self._pace.wait_for(len(block))
                return block
            self._recording.close()
            path, self._recording = self._recording.path, None
            if self._read_samples < FRAME_SAMPLES:
                raise Unavailable(describe_short(path, self._read_samples))

    def close(self) -> None:
        """Do nothing: a file holds no sound of this room, and it plays on while muted."""

    def skip(self) -> int | None:
        """Read and wipe up to one frame; return its count of samples, None at the end."""
        block = self.read()
        if block is None:
            return None
        if isinstance(block, GapReason):
            return 0
        block[...] = 0
        return len(block)


class RealTimePacer:
    """Real-time clock for a recording: no block is early, and delays do not add up. One thread."""

    def __init__(self, monotonic_s: Callable[[], float], wait_s: Callable[[float], object]) -> None:
        """Create it; the clock starts at the first `wait_for`.

        Args:
            monotonic_s: a clock in seconds that never goes back.
            wait_s: sleeps for that many seconds, or less.
        """
        self._monotonic_s = monotonic_s
        self._wait_s = wait_s
        self._start_s: float | None = None
        self._total_samples = 0

    def wait_for(self, length_samples: int) -> None:
        """Wait until ``length_samples`` more are due; return at once when they are late."""
        if self._start_s is None:
            self._start_s = self._monotonic_s()
        self._total_samples += length_samples
        due_s = self._start_s + self._total_samples / SAMPLE_RATE_HZ
        left_s = due_s - self._monotonic_s()
        if left_s > 0:
            self._wait_s(left_s)
