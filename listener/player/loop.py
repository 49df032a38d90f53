"""The player's loop: wait for hear, send or the button; play one sound at a time.

Nothing sounds without hear's permission (`ipc.playback_locks`), which is asked for before each
piece of 20 ms. A sound that loses it ends at once and for good: hear is muted, has detected the
wake word, or has ended.
"""

import logging
import select
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from listener.audio.pcm import Samples
from listener.ipc.datagrams import Inbox
from listener.ipc.playback_locks import TAIL_S, PlaybackLock
from listener.ipc.player_state import PlayerState, SoundName, read_player_state
from listener.ipc.voice_paths import REPLIES
from listener.player.loudspeaker import LoudspeakerError
from listener.player.replies import (
    ClockReading,
    PlayableSound,
    decide_reply,
    take_reply_files,
)
from listener.player.reply_keys import ReplyKeys
from listener.player.segments import split_at_pauses
from listener.player.sounds import BUILT_IN_RATE_HZ, synthesize_sound

LOOK_S: Final = 0.25
"""Longest time between two looks at the files, in seconds, should a datagram be lost."""
LONGEST_SOUND_AGE_S: Final = 2.0
"""Age in seconds after which a built-in sound that hear asked for is not played."""
PATIENCE_S: Final = 0.5
"""Longest wait for hear's permission at the begin of a sound, in seconds."""
_STEP_S: Final = 0.01

_log = logging.getLogger(__name__)


class SoundOutput(Protocol):
    """The loudspeaker; see `loudspeaker.Loudspeaker`."""

    def play(self, samples: Samples, rate_hz: int, may_continue: Callable[[], bool]) -> bool:
        """Play samples; return whether they were played to their end.

        Raises:
            LoudspeakerError: the loudspeaker cannot be opened, or failed.
        """


class Button(Protocol):
    """The stop button; see `button.StopButton`."""

    def was_pressed(self) -> bool:
        """Return whether it was pressed since the last call."""


class PlayerClock(Protocol):
    """Clocks and waiting; both as methods, so that a test has one of its own."""

    def monotonic_s(self) -> float:
        """Return a monotonic time in seconds."""

    def moment(self) -> ClockReading:
        """Return this moment on both clocks of the device."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Player:
    """Accepts replies and plays them and built-in sounds. For one thread.

    Args:
        folder: the runtime folder ``voice``.
        device: name of this device.
        inbox: socket that takes the wake-ups of hear and send.
        output: the loudspeaker.
        clock: clocks.
        is_stopping: whether the process was asked to end.
        alive: called at least every `LOOK_S`, also while something sounds.
        button: stop button; None where there is none.
    """

    def __init__(  # noqa: PLR0913 - collaborators of the process, by name
        self,
        *,
        folder: Path,
        device: str,
        inbox: Inbox,
        output: SoundOutput,
        clock: PlayerClock,
        is_stopping: Callable[[], bool],
        alive: Callable[[], object],
        button: Button | None = None,
    ) -> None:
        self._folder: Final = folder
        self._device: Final = device
        self._inbox: Final = inbox
        self._output: Final = output
        self._clock: Final = clock
        self._is_stopping: Final = is_stopping
        self._alive: Final = alive
        self._button: Final = button
        self._lock: Final = PlaybackLock(folder)
        self._keys: Final = ReplyKeys(folder)
        state = read_player_state(folder)
        self._sound_n = 0 if state is None else state.sound_n
        self._has_failed = False
        self.refused = 0
        """Replies that were not played."""
        self.played = 0
        """Sounds that were played to their end."""

    def run(self) -> None:
        """Play until the process is asked to end."""
        try:
            while not self._is_stopping():
                self.turn(LOOK_S)
        finally:
            self.close()

    def turn(self, longest_s: float) -> None:
        """Wait for a wake-up, then look at the files and play what they ask for.

        Args:
            longest_s: longest wait in seconds.
        """
        self._alive()
        if select.select((self._inbox,), (), (), longest_s)[0]:
            for _ in self._inbox.receive():
                pass  # it carries nothing
        self._lock.refresh()
        if self._button is not None:
            self._button.was_pressed()  # one that is pressed in silence stops nothing later
        state = read_player_state(self._folder)
        self._keys.lay_ready()
        if state is None or state.muted or state.latest is None:
            self._keys.drop()
        else:
            self._keys.bind(state.latest.ask, state.latest.reply)
        self._play_requested_sound(state)
        for data in take_reply_files(self._folder / REPLIES):
            self._play_reply(data)

    def play_sound(self, sound: SoundName) -> bool:
        """Play a built-in sound now; return whether it was played to its end."""
        return self._play(synthesize_sound(sound), BUILT_IN_RATE_HZ)

    def close(self) -> None:
        """Drop all keys, remove the public key and the waiting replies, and release the locks."""
        self._keys.close()
        take_reply_files(self._folder / REPLIES)
        self._lock.close()

    def _play_requested_sound(self, state: PlayerState | None) -> None:
        if state is None or state.sound_n == self._sound_n:
            return
        self._sound_n = state.sound_n
        age_s = self._clock.moment().boot_s - state.sound_ms / 1000
        if state.sound is not None and not state.muted and 0 <= age_s <= LONGEST_SOUND_AGE_S:
            self.play_sound(state.sound)

    def _play_reply(self, data: bytes) -> None:
        # Read again: the reply before may have sounded for half a minute.
        state = read_player_state(self._folder) or PlayerState()
        decided = decide_reply(data, state, self._keys, self._device, self._clock.moment())
        if not isinstance(decided, PlayableSound):
            self.refused += 1
            _log.info("a reply was not played: %s", decided)
            return
        try:
            self._play(decided.samples, decided.rate_hz)
        finally:
            decided.samples.flags.writeable = True
            decided.samples[:] = 0

    def _play(self, samples: Samples, rate_hz: int) -> bool:
        """Play a sound with its pauses, in which the microphone's gate is open."""
        for segment in split_at_pauses(samples, rate_hz):
            part = samples[segment.first_sample : segment.end_sample]
            if not self._play_segment(part, rate_hz):
                return False
            pause_s = segment.pause_samples / rate_hz - TAIL_S
            if not self._wait(pause_s, self._is_allowed):
                return False
        self.played += 1
        return True

    def _play_segment(self, samples: Samples, rate_hz: int) -> bool:
        if not self._begin():
            return False
        try:
            was_played = self._output.play(samples, rate_hz, self._may_continue)
            self._has_failed = False
        except LoudspeakerError as error:
            if not self._has_failed:
                _log.warning("cannot play a sound: %s", error)
            self._has_failed, was_played = True, False
        finally:
            # The room's echo; a microphone process may lag behind.
            self._wait(TAIL_S, lambda: True)
            self._lock.end()
        return was_played

    def _begin(self) -> bool:
        """Announce a sound; wait a moment for hear, which permits it after a clip has ended."""
        until_s = self._clock.monotonic_s() + PATIENCE_S
        while not self._lock.begin():
            if self._is_stopping() or self._clock.monotonic_s() >= until_s:
                return False
            self._clock.sleep(_STEP_S)
        return True

    def _may_continue(self) -> bool:
        self._alive()
        return self._lock.is_permitted() and self._is_allowed()

    def _is_allowed(self) -> bool:
        """Return whether neither the button nor the end of the process stops a sound.

        In a pause hear's permission counts too: without it the rest does not sound.
        """
        if self._is_stopping() or (self._button is not None and self._button.was_pressed()):
            return False
        return self._lock.refresh()

    def _wait(self, seconds: float, may_continue: Callable[[], bool]) -> bool:
        until_s = self._clock.monotonic_s() + seconds
        while self._clock.monotonic_s() < until_s:
            if not may_continue():
                return False
            self._alive()
            self._clock.sleep(_STEP_S)
        return may_continue()
