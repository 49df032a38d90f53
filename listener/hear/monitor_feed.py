"""Feed of levels and scores for a monitor on this machine; contains no audio.

Once a second hear checks for the socket of a monitor, and sends only while there is one. Sending
does not block the listen loop.
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
"""Interval of the levels, in seconds."""
COUNT_PAUSE_S: Final = 1.0
"""Interval of the counters, in seconds."""
LOOK_PAUSE_S: Final = 1.0
"""Interval of the checks for a monitor, in seconds."""

_FLOOR_FRAMES: Final = 125  # 10 s: longer than a sentence without a pause
_FLOOR_PART: Final = 10  # the noise floor is the 10th percentile


class ScoreSource(Protocol):
    """Source of scores; see `wakeword.detector.StreamDetector`."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Scores of the newest step, by word; empty if none was computed."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Thresholds, by word."""


class MonitorFeed:
    """Sender of levels and notices to a monitor. Safe for several threads, except `observe`.

    Only a socket of the same user is accepted: another process that can write into the home, such
    as send, receives no levels.

    Args:
        home: data directory.
        monotonic_s: monotonic clock, in seconds.
        cpu_s: returns the CPU time of hear, in seconds.
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
        """Send a notice without blocking; return True if a monitor accepted it."""
        if isinstance(notice, notices.MicrophoneNotice):
            self._microphone = notice  # for a monitor that is started later
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
        """Yield every frame and gap, and measure it after the listen loop has processed it.

        Args:
            sounds: frames and gaps from the gate.
            detector: has the scores of the last frame.
            count: returns the signed counters.
            mute: returns the cause of the mute; called only at a gap.
            lamp: returns the state of the LED.
        """
        due_s = count_due_s = self._monotonic_s()
        meter = _Meter()
        for sound in sounds:
            yield sound
            now_s = self._monotonic_s()
            if not self._is_watched:
                if now_s < due_s:
                    continue
                if not self._has_monitor():
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
        """Close the socket."""
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

    def _has_monitor(self) -> bool:
        try:
            return self._path.is_socket()
        except OSError:  # the home is not readable or does not exist
            return False

    def _offer(self, notice: Shown) -> bool:
        with self._lock:
            return self._outbox.send(notices.encode(notice))


class Tee:
    """Sink that sends every notice to two sinks."""

    def __init__(self, first: NoticeSink, second: NoticeSink) -> None:
        self._first: Final = first
        self._second: Final = second

    def send(self, notice: Notice) -> bool:
        """Send a notice to both; return True if one of them accepted it."""
        was_accepted = self._first.send(notice)
        return self._second.send(notice) or was_accepted


class _Meter:
    """Peak level and peak scores since the last `take`, and the noise floor. Stores no audio."""

    def __init__(self) -> None:
        self._scratch = np.zeros(FRAME_SAMPLES, np.float32)
        self._recent: deque[int] = deque(maxlen=_FLOOR_FRAMES)
        self._loudest: int | None = None
        self._scores: dict[str, float] = {}

    def push(self, sound: Sound, scores: Mapping[str, float]) -> None:
        if isinstance(sound, Gap):
            self._recent.clear()
            return
        level = self._level_dbfs(sound)
        self._recent.append(level)
        self._loudest = level if self._loudest is None else max(self._loudest, level)
        for name, score in scores.items():
            self._scores[name] = max(self._scores.get(name, 0.0), score)

    def take(self) -> tuple[int | None, dict[str, float]]:
        """Return the peak level and the peak scores, and reset them."""
        peaks = self._loudest, self._scores
        self._loudest, self._scores = None, {}
        return peaks

    @property
    def floor_dbfs(self) -> int | None:
        if not self._recent:
            return None
        return sorted(self._recent)[len(self._recent) // _FLOOR_PART]

    def _level_dbfs(self, frame: Frame) -> int:
        """Return the level as `audio.level` does, without a copy of the audio after the call."""
        scratch = self._scratch
        scratch[:] = frame.samples
        scratch -= scratch.mean()
        power = float(np.dot(scratch, scratch)) / FRAME_SAMPLES
        scratch.fill(0)
        if power <= 0:
            return round(SILENCE_DBFS)
        return max(round(SILENCE_DBFS), min(0, round(10 * math.log10(power / FULL_SCALE**2))))
