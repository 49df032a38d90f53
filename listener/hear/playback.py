"""Detection of the device's own sound in the microphone's stream, by the locks of the player."""

from collections.abc import Callable
from typing import Final, Protocol

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.ipc.playback_locks import TAIL_S


class LoudspeakerState(Protocol):
    """Hear's view of the player; see `ipc.playback_locks.PlaybackPermit`."""

    def is_sounding(self) -> bool:
        """Return whether the loudspeaker may sound; True if that is not known."""

    def is_player_running(self) -> bool:
        """Return whether a player runs; True if that is not known."""


class PlaybackMonitor:
    """Decide for each block whether it may contain the device's own sound. For one thread.

    The player announces a sound before its first sample, and until `TAIL_S` after its last. A block
    is judged after it was read, so whatever it contains is announced already, or was until less
    than the lag of hear ago.

    A lag longer than that tail is treated as sound: audio that waited in the microphone's pipe
    since the last judgement could contain a sound that is over. So is the audio that waited at the
    end of a sound.

    Args:
        loudspeaker: the state of the player.
        monotonic_s: monotonic clock in seconds.
    """

    def __init__(self, loudspeaker: LoudspeakerState, monotonic_s: Callable[[], float]) -> None:
        self._loudspeaker: Final = loudspeaker
        self._monotonic_s: Final = monotonic_s
        self._judged_s: float | None = None
        self._was_sounding = self._was_running = False
        self._waiting_samples = 0

    def covers(self, block_samples: int) -> bool:
        """Return whether the block that was read last may contain the device's own sound.

        To be called before and after each read, so that the time between two calls is what the
        microphone's pipe may hold.

        Args:
            block_samples: length of the block; 0 without one.
        """
        now_s = self._monotonic_s()
        since_s = 0.0 if self._judged_s is None else now_s - self._judged_s
        self._judged_s = now_s
        was_running, self._was_running = (
            self._was_running,
            self._loudspeaker.is_player_running(),
        )
        if self._loudspeaker.is_sounding():
            self._was_sounding = True
            return True
        has_lagged = since_s > TAIL_S and (was_running or self._was_running)
        if self._was_sounding or has_lagged:
            self._was_sounding = False
            waiting_samples = round(since_s * SAMPLE_RATE_HZ)
            self._waiting_samples = max(self._waiting_samples, waiting_samples)
        if self._waiting_samples <= 0:
            return False
        self._waiting_samples -= block_samples
        return block_samples > 0
