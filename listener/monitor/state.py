"""What a monitor knows, put together from notices. Pure: the time comes in with them."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from listener.ipc import notices
from listener.ipc.notices import LampState, LevelNotice, MuteState, Shown, Tally

FRESH_S: Final = 2.0
"""A level comes a few times a second; after so long without one, nobody hears."""

_CPU_WINDOW_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class LastDetection:
    """The last wake or near miss."""

    kind: str
    """``wake`` or ``near_miss``."""
    word: str
    score: float
    at_s: float
    """On the clock that `HearState.update` is given."""


class HearState:
    """The state of one hear, as far as it has told. One thread."""

    level_dbfs: int | None
    floor_dbfs: int | None
    words: dict[str, notices.WordScore]
    mute: MuteState
    lamp: LampState
    microphone: notices.MicrophoneNotice | None
    tally: Tally | None
    found: LastDetection | None

    def __init__(self) -> None:
        self._taken_s = float("-inf")
        self._reset()

    def update(self, notice: Shown, now_s: float) -> None:
        """Take in what hear says.

        Args:
            notice: the next.
            now_s: when it came, on a clock in seconds that never goes back.
        """
        match notice:
            case LevelNotice():
                self._level(notice, now_s)
            case notices.WakeNotice(word=word, score=score):
                self.found = LastDetection("wake", word, score, now_s)
            case notices.NearMissNotice(word=word, score=score):
                self.found = LastDetection("near_miss", word, score, now_s)
            case notices.MuteNotice(state=state):
                self.mute = state
            case notices.MicrophoneNotice():
                self.microphone = notice
            case notices.CountersNotice(tally=tally):
                self.tally = tally
            case notices.StoppedNotice():
                self._taken_s = float("-inf")
            case notices.StartedNotice() | notices.SpooledNotice():
                pass  # the next level says it

    def is_current(self, now_s: float) -> bool:
        """Whether a hear has told of itself lately."""
        return now_s - self._taken_s < FRESH_S

    @property
    def cpu_percent(self) -> float | None:
        """Of one processor, over the last seconds; since hear's start where there are none."""
        if not self._cpu:
            return None
        (first_up_s, first_cpu_s), (up_s, cpu_s) = self._cpu[0], self._cpu[-1]
        if up_s - first_up_s < 1:
            first_up_s = first_cpu_s = 0.0
        return 100 * (cpu_s - first_cpu_s) / max(up_s - first_up_s, 0.001)

    @property
    def up_s(self) -> float | None:
        """How long hear has been running."""
        return self._cpu[-1][0] if self._cpu else None

    def _level(self, level: LevelNotice, now_s: float) -> None:
        if self.up_s is not None and level.up_s < self.up_s:
            self._reset()  # Another hear: what was known was about the last one.
        self._taken_s = now_s
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
        self.microphone = self.tally = self.found = None
        self._cpu = deque[tuple[float, float]]()
