"""Chime of the player in the pause after a wake word: only where nothing is said.

A command in one breath with the wake word goes on while it would sound, so it does not sound. Where
the person waits, it sounds, the gate makes a gap of it, and the clip begins behind the gap: no clip
contains it, and none is cut by it. See decision 0053.
"""

from collections.abc import Callable
from typing import Final, Protocol

PAUSE_S: Final = 1.2
"""Time without speech after a wake from which the chime sounds, in seconds."""
START_S: Final = 0.5
"""Longest time from the request to the begin of the chime, in seconds; see `player.loop`."""


class SoundingState(Protocol):
    """Hear's view of the loudspeaker; see `ipc.playback_locks.PlaybackPermit`."""

    def is_sounding(self) -> bool:
        """Return whether the loudspeaker may sound."""

    def is_player_running(self) -> bool:
        """Return whether a player runs."""


class PauseChime:
    """Chime that the player sounds on request. For one thread; never blocks, never raises.

    Args:
        request: requests the sound; returns whether a player was told.
        loudspeaker: its state.
        monotonic_s: monotonic clock in seconds.
    """

    def __init__(
        self,
        request: Callable[[], bool],
        loudspeaker: SoundingState,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._request: Final = request
        self._loudspeaker: Final = loudspeaker
        self._monotonic_s: Final = monotonic_s
        self._until_s: float | None = None

    def start(self) -> bool:
        """Request the chime; return whether it will sound: a player runs and was told."""
        if not self._loudspeaker.is_player_running() or not self._request():
            return False
        self._until_s = self._monotonic_s() + START_S
        return True

    @property
    def is_playing(self) -> bool:
        """Whether it may still begin, sounds or echoes; to be polled on every turn of the loop."""
        if self._loudspeaker.is_sounding():
            self._until_s = None
            return True
        if self._until_s is not None and self._monotonic_s() >= self._until_s:
            self._until_s = None
        return self._until_s is not None
