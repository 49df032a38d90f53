"""Repetition of hear's state to send, so that neither has to start first.

A notice that meets no socket is lost: that of a hear that starts before send, of a hear that runs
on while send restarts, and each one that finds the socket's queue full. So the state that the
notices gave is repeated every few seconds, and send takes a state that is not repeated as unknown
(docs/decisions/0052).
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from listener.audio.pcm import Frame, Gap, GapReason, Sound
from listener.hear.publisher import NoticeSink
from listener.ipc import notices
from listener.ipc.notices import CountersNotice, DetectorNotice, MuteState, Notice, StateNotice

_CHANGE_S: Final = 1.0
"""Least time between two repetitions, also if messages change the thresholds more often."""


class StateFeed:
    """Sink that passes each notice on, and repeats the state that they give.

    Safe for several threads, except `observe`.

    Args:
        sink: destination of the notices: send's socket.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, sink: NoticeSink, monotonic_s: Callable[[], float]) -> None:
        self._sink: Final = sink
        self._monotonic_s: Final = monotonic_s
        self._lock: Final = threading.Lock()
        self._state = StateNotice()
        self._counters: CountersNotice | None = None
        self._is_changed = False

    def send(self, notice: Notice) -> bool:
        """Send a notice without blocking, and remember its state; return True if it was accepted.

        Raises:
            ValueError: it is longer than 512 bytes.
        """
        with self._lock:
            self._remember(notice)
            return self._sink.send(notice)

    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Change the thresholds; the state is sent within a second."""
        fits = len(thresholds) <= notices.MOST_THRESHOLDS
        with self._lock:
            self._change(thresholds=dict(thresholds) if fits else {})
            self._is_changed = True

    def observe(
        self,
        sounds: Iterable[Sound],
        mute: Callable[[], MuteState],
        detector: Callable[[], DetectorNotice] = DetectorNotice,
    ) -> Iterator[Sound]:
        """Yield every frame and gap; send the state with the first, and every few seconds.

        Args:
            sounds: frames and gaps from the gate.
            mute: returns the cause of the mute; called only at a gap.
            detector: returns the state and speed of the detector.
        """
        sent_s = self._monotonic_s() - notices.STATE_EVERY_S
        for sound in sounds:
            yield sound
            self._observe(sound, mute)
            now_s = self._monotonic_s()
            if now_s >= sent_s + (_CHANGE_S if self._is_changed else notices.STATE_EVERY_S):
                sent_s = now_s
                self._repeat(detector())

    def _observe(self, sound: Sound, mute: Callable[[], MuteState]) -> None:
        """Take from a frame or gap what no notice says: at its start hear sends none."""
        if isinstance(sound, Frame):
            if self._state.mute != "open" or self._state.microphone is None:
                # Recordings have no notice about a microphone.
                with self._lock:
                    self._change(mute="open", microphone=self._state.microphone or "open")
        elif _is_silent(sound):
            cause = mute()
            if sound.reason is GapReason.MUTED and cause == "open":
                cause = "hardware"  # as the listen loop reports it
            if cause != self._state.mute:
                with self._lock:
                    self._change(mute=cause)

    def _repeat(self, detector: DetectorNotice) -> None:
        with self._lock:
            self._is_changed = False
            self._sink.send(self._state)
            self._sink.send(detector)
            if self._counters is not None:
                self._sink.send(self._counters)

    def _remember(self, notice: Notice) -> None:
        match notice:
            case notices.StartedNotice(thresholds=thresholds, switch=switch):
                self._state = StateNotice(thresholds=thresholds, switch=switch)
            case notices.MuteNotice(state=mute):
                self._change(mute=mute)
            case notices.MicrophoneNotice():
                self._change(
                    microphone=notice.cause or "open",
                    losses=notice.losses,
                    overruns=notice.overruns,
                )
            case CountersNotice():
                self._counters = notice
            case _:
                pass  # an event, which is not repeated

    def _change(self, **changes: object) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)


def _is_silent(gap: Gap) -> bool:
    return gap.reason in (GapReason.MUTED, GapReason.LOST)
