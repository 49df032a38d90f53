"""Where sound comes from. Only the gate may import this module.

A recording is a microphone too, so that the demo, the tests and a device share one path.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, GapReason, Samples
from listener.errors import EarmarkError
from listener.storage.recordings import Recording, open_recording


class Microphone(Protocol):
    """What the gate opens, reads and shuts. One thread.

    The first `read`, and the first after `close`, opens it.
    """

    def read(self) -> Samples | GapReason | int | None:
        """Wait for the next block, at most one frame's time.

        Returns:
            int16, shape (n,), at most one frame, the caller's to overwrite, and empty where there
            is nothing yet or the switch wants to be asked; or why sound is missing between the
            last block and the next; or how many samples went by while there was no device; or
            None when nothing comes any more.

        Raises:
            Unavailable: the sound broke off. Reading again goes on with what there is.
        """

    def close(self) -> None:
        """Let go of the device and of every sample; harmless when repeated."""

    def skip(self) -> int | None:
        """Let at most one frame's time pass while shut, and not beyond the switch's next edge.

        Returns:
            How many samples went by unheard; None when nothing would come any more.

        Raises:
            Unavailable: as `read`.
        """


class FileMicrophone:
    """Recordings heard one after the other, in their own time or as fast as possible."""

    def __init__(
        self,
        paths: Sequence[Path],
        channel: int,
        pace: "RealTimePacer | None",
    ) -> None:
        """Look at every file, so that a missing one is said before the first is heard.

        Args:
            paths: at least one.
            channel: which channel of each is heard, from 0.
            pace: how time passes; None hears as fast as possible.

        Raises:
            Unavailable: a file is missing or cannot be read.
            UsageError: it has no such channel.
        """
        for path in paths:
            open_recording(path, channel).close()
        self._left = list(paths)
        self._channel: Final = channel
        self._pace: Final = pace
        self._recording: Recording | None = None
        self._has_begun = False

    def read(self) -> Samples | GapReason | None:
        """Return up to one frame, once the time has come in which it was spoken."""
        while True:
            if self._recording is None:
                if not self._left:
                    return None
                self._recording = open_recording(self._left.pop(0), self._channel)
                if self._has_begun:
                    return GapReason.START
                self._has_begun = True
            try:
                block = self._recording.read(FRAME_SAMPLES)
            except EarmarkError:
                self._recording.close()
                self._recording = None
                raise
            if block is not None:
                if self._pace is not None:
                    self._pace.wait_for(len(block))
                return block
            self._recording.close()
            self._recording = None

    def close(self) -> None:
        """Do nothing: a file holds no sound of this room, and it goes on behind a shut gate."""

    def skip(self) -> int | None:
        """Read over a frame's time, overwriting it unheard."""
        block = self.read()
        if block is None:
            return None
        if isinstance(block, GapReason):
            return 0
        block[...] = 0
        return len(block)


class RealTimePacer:
    """The time in which sound is spoken, held against a clock: nothing is early, nothing drifts."""

    def __init__(self, monotonic_s: Callable[[], float], wait_s: Callable[[float], object]) -> None:
        """Begin when the first sound passes by.

        Args:
            monotonic_s: a clock in seconds that never goes back.
            wait_s: sleeps that many seconds, or less.
        """
        self._monotonic_s = monotonic_s
        self._wait_s = wait_s
        self._began_s: float | None = None
        self._passed_samples = 0

    def wait_for(self, length_samples: int) -> None:
        """Return when that much more sound has been spoken; at once when that is in the past."""
        if self._began_s is None:
            self._began_s = self._monotonic_s()
        self._passed_samples += length_samples
        due_s = self._began_s + self._passed_samples / SAMPLE_RATE_HZ
        left_s = due_s - self._monotonic_s()
        if left_s > 0:
            self._wait_s(left_s)
