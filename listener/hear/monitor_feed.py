"""Tell a monitor on this machine what hear makes of the sound: levels and scores, never sound.

Only while somebody watches: once a second hear looks whether there is a monitor's socket. Whoever
hears never waits for whoever watches.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from listener.audio.level import FULL_SCALE, SILENCE_DBFS
from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Sound
from listener.hear.publisher import NoticeSink
from listener.ipc import notices
from listener.ipc.datagrams import Outbox
from listener.ipc.notice_socket import MONITOR_SOCKET
from listener.ipc.notices import (
    MOST_WORDS,
    CountersNotice,
    LampState,
    LevelNotice,
    MuteState,
    Notice,
    Shown,
    WordScore,
)

LEVEL_PAUSE_S: Final = 0.2
COUNT_PAUSE_S: Final = 1.0
LOOK_PAUSE_S: Final = 1.0
"""So long it takes at most until a monitor that was just started is seen."""

_FLOOR_FRAMES: Final = 125  # 10 s: longer than a sentence without a pause
_FLOOR_PART: Final = 10  # a tenth of them is as quiet as the floor


class ScoreSource(Protocol):
    """What tells scores; see `wakeword.detector.StreamDetector`."""

    @property
    def scores(self) -> Mapping[str, float]:
        """The newest step's, by word; empty where none was worth computing."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """By word."""


class MonitorFeed:
    """Speaks to a monitor, while there is one. Safe for several threads, except `observe`.

    Only a monitor of the same user is spoken to: whatever else may write into the home, such as
    the process that sends, learns no level by standing there.

    Args:
        home: the installation's folder.
        monotonic_s: a clock in seconds that never goes back.
        cpu_s: how long hear has kept a processor busy, in seconds.
    """

    def __init__(
        self, home: Path, monotonic_s: Callable[[], float], cpu_s: Callable[[], float]
    ) -> None:
        self._path: Final = home / MONITOR_SOCKET
        self._outbox: Final = Outbox(self._path, owner=os.geteuid())
        self._monotonic_s: Final = monotonic_s
        self._cpu_s: Final = cpu_s
        self._began_s: Final = monotonic_s()
        self._lock: Final = threading.Lock()
        self._is_watched = False
        self._microphone: notices.MicrophoneNotice | None = None

    def send(self, notice: Notice) -> bool:
        """Hand over what happened; say whether a monitor took it."""
        if isinstance(notice, notices.MicrophoneNotice):
            self._microphone = notice  # A monitor that comes later wants to know.
        return self._is_watched and self._offer(notice)

    def observe(
        self,
        sounds: Iterable[Sound],
        *,
        detector: ScoreSource,
        count: Callable[[], CountersNotice],
        mute: Callable[[], MuteState],
        lamp: Callable[[], LampState],
    ) -> Iterator[Sound]:
        """Pass on every sound, and look at it once whoever hears is done with it.

        Args:
            sounds: from the gate; the next is asked for when the last was looked at.
            detector: tells what was made of the last.
            count: returns the counters, signed.
            mute: what mutes; asked while the sounds say that something does.
            lamp: what the lamp shows.
        """
        due_s = count_due_s = self._monotonic_s()
        meter = _Meter()
        for sound in sounds:
            yield sound
            now_s = self._monotonic_s()
            if not self._is_watched:
                if now_s < due_s:
                    continue
                if not self._is_there():
                    due_s = now_s + LOOK_PAUSE_S
                    continue
            meter.push(sound, detector.scores)
            if now_s < due_s:
                continue
            muted = isinstance(sound, Gap) and sound.reason is GapReason.MUTED
            levels = self._levels(meter, detector, mute() if muted else "open", lamp())
            self._is_watched = all(self._offer(level) for level in levels)
            due_s = now_s + (LEVEL_PAUSE_S if self._is_watched else LOOK_PAUSE_S)
            if not self._is_watched:
                meter = _Meter()
            elif now_s >= count_due_s:
                count_due_s = now_s + COUNT_PAUSE_S
                self._offer(count())
                if self._microphone is not None:
                    self._offer(self._microphone)

    def close(self) -> None:
        """Let go of the socket."""
        self._outbox.close()

    def _levels(
        self, meter: "_Meter", detector: ScoreSource, mute: MuteState, lamp: LampState
    ) -> list[LevelNotice]:
        level_dbfs, scores = meter.take()
        words = [
            WordScore(name=name, score=round(scores.get(name, 0.0), 3), threshold=threshold)
            for name, threshold in detector.thresholds.items()
        ]
        return [
            LevelNotice(
                level_dbfs=level_dbfs,
                floor_dbfs=meter.floor_dbfs,
                words=tuple(words[at : at + MOST_WORDS]),
                mute=mute,
                lamp=lamp,
                cpu_s=round(self._cpu_s(), 3),
                up_s=round(self._monotonic_s() - self._began_s, 3),
            )
            for at in range(0, len(words), MOST_WORDS)
        ]

    def _is_there(self) -> bool:
        try:
            return self._path.is_socket()
        except OSError:  # a home that may not be looked into, or is no more
            return False

    def _offer(self, notice: Shown) -> bool:
        with self._lock:
            return self._outbox.send(notices.encode(notice))


class Tee:
    """Posts every notice twice."""

    def __init__(self, first: NoticeSink, second: NoticeSink) -> None:
        self._first: Final = first
        self._second: Final = second

    def send(self, notice: Notice) -> bool:
        """Hand it to both; say whether anybody took it."""
        was_taken = self._first.send(notice)
        return self._second.send(notice) or was_taken


class _Meter:
    """The loudest and the highest between two looks, and the noise floor. Keeps no sound."""

    def __init__(self) -> None:
        self._scratch = np.zeros(FRAME_SAMPLES, np.float32)
        self._lately: deque[int] = deque(maxlen=_FLOOR_FRAMES)
        self._loudest: int | None = None
        self._scores: dict[str, float] = {}

    def push(self, sound: Sound, scores: Mapping[str, float]) -> None:
        if isinstance(sound, Gap):
            self._lately.clear()
            return
        level = self._level_dbfs(sound)
        self._lately.append(level)
        self._loudest = level if self._loudest is None else max(self._loudest, level)
        for name, score in scores.items():
            self._scores[name] = max(self._scores.get(name, 0.0), score)

    def take(self) -> tuple[int | None, dict[str, float]]:
        """Return the loudest level and the highest scores, and begin anew."""
        taken = self._loudest, self._scores
        self._loudest, self._scores = None, {}
        return taken

    @property
    def floor_dbfs(self) -> int | None:
        if not self._lately:
            return None
        return sorted(self._lately)[len(self._lately) // _FLOOR_PART]

    def _level_dbfs(self, frame: Frame) -> int:
        """As `levels.level_dbfs`, and without a copy of the sound that outlives the call."""
        scratch = self._scratch
        scratch[:] = frame.samples
        scratch -= scratch.mean()
        power = float(np.dot(scratch, scratch)) / FRAME_SAMPLES
        scratch.fill(0)
        if power <= 0:
            return round(SILENCE_DBFS)
        return max(round(SILENCE_DBFS), min(0, round(10 * math.log10(power / FULL_SCALE**2))))
