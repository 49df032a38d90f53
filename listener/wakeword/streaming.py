"""Streaming computation of openWakeWord's models: mel frames, embeddings, heads.

`StreamingModel` gives the scores of ``openwakeword.Model.predict`` 0.4.0 at every step from the
first, including its first five steps of zero.

`EnergyGate` tells whether a room is quiet, so that a lazy model can put steps off: no band rises
above the recent floor. ``docs/decisions/0006`` gives the measurements behind its constants. Levels
are in tenths of decibels, as in mel frames: 0.6 is 6 dB.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.wakeword.embedding import RECEPTIVE_FRAMES, STEP_FRAMES, Embeddings
from listener.wakeword.features import BANDS, Floats, Mel

SILENT_FRAMES: Final = 5
"""openWakeWord gives no score in the first frames."""
LAZY_WINDOW_FRAMES: Final = 16
"""The longest window of a head that can wait: 196 mel frames, just under 2 s."""
FAINT_SCORE: Final = 0.02
"""A score from here on keeps the room from counting as quiet."""

_GROUPS: Final = 4
"""The mel bands are averaged in groups: single bands of a steady noise jump by 10 dB and more."""
_FRAMES: Final = 8
"""What is compared are the loudest and the mean of the last 80 ms."""
_PEAK_RISE: Final = 0.6
_MEAN_RISE: Final = 0.4
_FLOOR_RISE_PER_FRAME: Final = 0.001
"""How fast the floor follows a room that got louder: 1 dB per second; it falls at once."""
_LOWEST_FLOOR: Final = -1.0
"""Less than a single bit's noise: no floor is lower, or it would take minutes to come up again."""


class Head(Protocol):
    """The network that knows a word."""

    def score(self, window: Floats) -> Floats:
        """Return its outputs, shape (outputs,); valid until the next call.

        Args:
            window: the last embeddings, shape (window_frames, 96).
        """

    def wipe(self) -> None:
        """Overwrite what is left of the last window."""


@dataclass(frozen=True, slots=True)
class Word:
    """A wake word and the head that knows it."""

    name: str
    head: Head
    window_frames: int
    """Embeddings that the head looks at."""
    labels: tuple[tuple[int, str], ...] = ()
    """Output and its label, where the head has several; the word scores as its best label."""


class EnergyGate:
    """Follow the floor of each group of bands. Not safe for use by several threads."""

    def __init__(self, hop_frames: int) -> None:
        """Prepare for steps of ``hop_frames`` mel frames, 8 or a divisor of it."""
        self._average = np.repeat(np.eye(_GROUPS, dtype=np.float32), BANDS // _GROUPS, axis=0)
        self._average /= BANDS // _GROUPS
        self._levels = np.empty((_FRAMES, _GROUPS), np.float32)
        self._parts = tuple(
            self._levels[first : first + hop_frames] for first in range(0, _FRAMES, hop_frames)
        )
        # One row of peaks and one of sums, so that both become numbers in one go.
        self._measures = np.empty((2, _GROUPS), np.float32)
        self._peaks, self._sums = self._measures
        self._climb = hop_frames * _FLOOR_RISE_PER_FRAME
        self.restart()

    def restart(self) -> None:
        """Forget the room, and wipe it."""
        self._steps = 0
        self._peak_floor = [np.inf] * _GROUPS
        self._mean_floor = [np.inf] * _GROUPS
        self._levels[:] = 0
        self._measures[:] = 0

    def is_loud(self, mel: Floats) -> bool:
        """Take a step's mel frames, shape (hop_frames, 32); tell whether anything rose.

        The first frames count as loud: there is nothing yet to compare them with.
        """
        np.matmul(mel, self._average, out=self._parts[self._steps % len(self._parts)])
        self._steps += 1
        if self._steps <= len(self._parts):
            return True
        np.maximum.reduce(self._levels, axis=0, out=self._peaks)
        np.add.reduce(self._levels, axis=0, out=self._sums)
        peaks, sums = self._measures.tolist()
        loud = False
        floor = self._peak_floor
        for group, level in enumerate(peaks):
            lowest = floor[group]
            loud = loud or level > lowest + _PEAK_RISE
            floor[group] = max(_LOWEST_FLOOR, min(lowest + self._climb, level))
        floor = self._mean_floor
        for group, total in enumerate(sums):
            lowest, level = floor[group], total / _FRAMES
            loud = loud or level > lowest + _MEAN_RISE
            floor[group] = max(_LOWEST_FLOOR, min(lowest + self._climb, level))
        return loud


class StreamingModel:
    """Several words over one stream of embeddings.

    Lazy, it only follows the mel frames while a room is quiet. A step is put off when neither its
    sound nor anything that its scores depend on rose above the room's floor, and no score of that
    time was worth mention; when something rises, the steps put off are computed from the mel
    frames kept, so that caches and embeddings are exact from then on.
    Not safe for use by several threads.
    """

    def __init__(
        self, mel: Mel, embeddings: Embeddings, words: Sequence[Word], *, lazy: bool = False
    ) -> None:
        """Prepare.

        Args:
            mel: from sound to mel frames.
            embeddings: from mel frames to embeddings.
            words: the heads, in the order of the scores' columns.
            lazy: put off steps in a quiet room. A head whose window is longer than
                ``LAZY_WINDOW_FRAMES`` overrules it: what would have to be kept for it is older
                than any sound may be.
        """
        self._mel = mel
        self._embeddings = embeddings
        self.words = tuple(word.name for word in words)
        """The wake words."""
        self.columns = self.words + tuple(label for word in words for _, label in word.labels)
        """What the columns of the scores are called."""
        self.steps_per_frame = FRAME_SAMPLES // mel.hop_samples
        """1 at a hop of 80 ms, 2 at 40."""
        self._heads: list[tuple[Head, int]] = []
        self._labels: list[tuple[list[int], slice] | None] = []
        at = len(words)
        for word in words:
            self._heads.append((word.head, word.window_frames))
            outputs = [output for output, _ in word.labels]
            self._labels.append((outputs, slice(at, at + len(outputs))) if outputs else None)
            at += len(outputs)
        self._silent_steps = SILENT_FRAMES * self.steps_per_frame
        self._scores = np.zeros((self.steps_per_frame, len(self.columns)), np.float32)
        longest = max(word.window_frames for word in words)
        hop_frames = STEP_FRAMES // self.steps_per_frame
        self._quiet = EnergyGate(hop_frames) if lazy and longest <= LAZY_WINDOW_FRAMES else None
        # Every mel frame that a score depends on, in steps.
        reach_steps = -(-(RECEPTIVE_FRAMES + (longest - 1) * STEP_FRAMES) // hop_frames)
        kept_steps = reach_steps if self._quiet else 0
        self._kept = np.zeros((kept_steps, hop_frames, BANDS), np.float32)
        self._steps = self._calm_steps = self._put_off_steps = 0

    def restart(self) -> None:
        """Forget everything heard, and wipe it."""
        self._mel.restart()
        self._embeddings.restart()
        if self._quiet:
            self._quiet.restart()
        for head, _ in self._heads:
            head.wipe()
        self._kept[:] = 0
        self._scores[:] = 0
        self._steps = self._calm_steps = self._put_off_steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score one frame; see ``WakeModel.push``."""
        hop = self._mel.hop_samples
        for index in range(self.steps_per_frame):
            mel = self._mel.step(samples[index * hop : (index + 1) * hop])
            scores = self._scores[index]
            self._steps += 1
            if self._quiet is not None and self._can_defer(self._quiet, mel):
                scores[:] = np.nan
                continue
            self._embeddings.step(mel)
            if self._steps > self._silent_steps:
                self._score(scores)
                if self._quiet is not None and scores.max() >= FAINT_SCORE:
                    self._calm_steps = 0
        return self._scores

    def _can_defer(self, quiet: EnergyGate, mel: Floats) -> bool:
        """Tell whether this step can wait; if not, make good those that did."""
        kept = self._kept
        at = self._steps % len(kept)
        np.copyto(kept[at], mel)
        self._calm_steps = 0 if quiet.is_loud(mel) else self._calm_steps + 1
        if self._calm_steps >= len(kept):
            self._put_off_steps += 1
            return True
        if self._put_off_steps:
            # Steps before those that are kept have left every window by now.
            for back in range(min(self._put_off_steps, len(kept) - 1), 0, -1):
                self._embeddings.step(kept[at - back])
            self._put_off_steps = 0
        return False

    def _score(self, scores: Floats) -> None:
        """Ask every head about the newest window."""
        for column, (head, window_frames) in enumerate(self._heads):
            outputs = head.score(self._embeddings.window(window_frames))
            labels = self._labels[column]
            if labels is None:
                scores[column] = outputs[0]
            else:
                chosen, where = labels
                scores[where] = outputs[chosen]
                scores[column] = scores[where].max()
