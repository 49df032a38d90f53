"""State of hear, built up from its notices. Pure: the time is a parameter."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from listener.ipc import notices
from listener.ipc.notices import LampState, LevelNotice, MuteState, Shown, Tally

FRESH_S: Final = 2.0
"""Seconds without a level after which hear counts as not running; it sends several a second."""

_CPU_WINDOW_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class LastDetection:
    """Last wake or near miss."""

    kind: str
    """``wake`` or ``near_miss``."""
    word: str
    score: float
    at_s: float
    """Seconds on the clock of `HearState.update`."""


class HearState:
    """State of one hear process, from its notices so far. One thread."""

    level_dbfs: int | None
    floor_dbfs: int | None
    words: dict[str, notices.WordScore]
    mute: MuteState
    lamp: LampState
    microphone: notices.MicrophoneNotice | None
    tally: Tally | None
    detection: LastDetection | None

    def __init__(self) -> None:
        self._updated_s = float("-inf")
        self._reset()

    def update(self, notice: Shown, now_s: float) -> None:
        """Update the state with a notice.

        Args:
            notice: the next one from hear.
            now_s: time of its arrival on a monotonic clock, in seconds.
        """
        match notice:
            case LevelNotice():
                self._level(notice, now_s)
            case notices.WakeNotice(word=word, score=score):
                self.detection = LastDetection("wake", word, score, now_s)
            case notices.NearMissNotice(word=word, score=score):
                self.detection = LastDetection("near_miss", word, score, now_s)
            case notices.MuteNotice(state=state):
                self.mute = state
            case notices.MicrophoneNotice():
                self.microphone = notice
            case notices.CountersNotice(tally=tally):
                self.tally = tally
            case notices.StoppedNotice():
                self._updated_s = float("-inf")
            case (
                notices.StartedNotice()
                | notices.StateNotice()
                | notices.DetectorNotice()
                | notices.SpooledNotice()
                | notices.AskNotice()
                | notices.CopyNotice()
                | notices.CommandNotice()
                | notices.VoiceNotice()
                | notices.AttributionNotice()
            ):
                pass  # the next level has their content

    def is_current(self, now_s: float) -> bool:
        """Return whether the last level is less than `FRESH_S` old."""
        return now_s - self._updated_s < FRESH_S

    @property
    def cpu_percent(self) -> float | None:
        """CPU usage in % of one core over the last seconds, or at first since hear's start."""
        if not self._cpu:
            return None
        (first_up_s, first_cpu_s), (up_s, cpu_s) = self._cpu[0], self._cpu[-1]
        if up_s - first_up_s < 1:
            first_up_s = first_cpu_s = 0.0
        return 100 * (cpu_s - first_cpu_s) / max(up_s - first_up_s, 0.001)

    @property
    def up_s(self) -> float | None:
        """Seconds since hear's start, or None before the first level."""
        return self._cpu[-1][0] if self._cpu else None

    def _level(self, level: LevelNotice, now_s: float) -> None:
        if self.up_s is not None and level.up_s < self.up_s:
            self._reset()  # hear was restarted: the state is that of the previous process.
        self._updated_s = now_s
        self.level_dbfs, self.floor_dbfs = level.level_dbfs, level.floor_dbfs
        self.mute, self.lamp = level.mute, level.lamp
        self.words.update((word.name, word) for word in level.words)
        self._cpu.append((level.up_s, level.cpu_s))
        while self._cpu[-1][0] - self._cpu[0][0] > _CPU_WINDOW_S:
            self._cpu.popleft()

    def _reset(self) -> None:
        self.level_dbfs = self.floor_dbfs = None
        self.words = {}
        self.mute, self.lamp = "open", "idle"
        self.microphone = self.tally = self.detection = None
        self._cpu = deque[tuple[float, float]]()
