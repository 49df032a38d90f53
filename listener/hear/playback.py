"""Detection of the device's own sound in the microphone's stream, by the locks of the player."""

from collections.abc import Callable
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ


class LoudspeakerState(Protocol):
    """Hear's view of the player; see `ipc.playback_locks.PlaybackPermit`."""

    def is_sounding(self) -> bool:
        """Return whether the loudspeaker may sound; True if that is not known."""

    def sound_number(self) -> int | None:
        """Return the number of the player's last sound; None if no player runs."""


class PlaybackMonitor:
    """Decide for each block whether it may contain the device's own sound. For one thread.

    The player announces a sound before its first sample, and until `playback_locks.TAIL_S` after
    its last. A block is judged after it was read, so whatever it contains is announced already, or
    was until less than the lag of hear ago.

    Where hear lags, audio that waited in the microphone's pipe may contain a sound that is over:
    after the end of a sound, or a new number, what the pipe may hold is discarded too.

    Args:
        loudspeaker: the state of the player.
        monotonic_s: monotonic clock in seconds.
    """

    def __init__(self, loudspeaker: LoudspeakerState, monotonic_s: Callable[[], float]) -> None:
        self._loudspeaker: Final = loudspeaker
        self._monotonic_s: Final = monotonic_s
        self._judged_s: float | None = None
        self._was_sounding = False
        self._number: int | None = None
        self._waiting_samples = 0

    def covers(self, block_samples: int) -> bool:
        """Return whether the block that was read last may contain the device's own sound.

        To be called before and after each read, so that the time between two calls is what the
        microphone's pipe may hold.

        Args:
            block_samples: length of the block; 0 without one.
        """
        now_s = self._monotonic_s()
        is_first = self._judged_s is None
        since_s = 0.0 if self._judged_s is None else now_s - self._judged_s
        self._judged_s = now_s
        # Before the question below: a sound between the two is seen by one of them.
        number = self._loudspeaker.sound_number()
        has_sounded = number != self._number and not is_first
        self._number = number
        if self._loudspeaker.is_sounding():
            self._was_sounding = True
            return True
        if self._was_sounding or has_sounded:
            self._was_sounding = False
            waiting_samples = round(since_s * SAMPLE_RATE_HZ)
            self._waiting_samples = max(self._waiting_samples, waiting_samples)
        if self._waiting_samples <= 0:
            return False
        self._waiting_samples -= block_samples
        return block_samples > 0
