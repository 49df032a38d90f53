"""openWakeWord's models, computed step by step: mel, embedding, heads.

Scores equal those of ``openwakeword.Model.predict`` 0.4.0 at every step from the first, its first
five forced zeros included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from listener.sound.pcm import FRAME_SAMPLES, Samples
from listener.wake.embedding import Embeddings
from listener.wake.features import Floats, Mel

SILENT_FRAMES: Final = 5
"""openWakeWord gives no score in the first frames."""


class Head(Protocol):
    """The network that knows a word."""

    def score(self, window: Floats) -> Floats:
        """Return its outputs, shape (outputs,); valid until the next call.

        Args:
            window: the last embeddings, shape (window_frames, 96).
        """


@dataclass(frozen=True, slots=True)
class Word:
    """A wake word and the head that knows it."""

    name: str
    head: Head
    window_frames: int
    """Embeddings that the head looks at."""
    labels: tuple[tuple[int, str], ...] = ()
    """Output and its label, where the head has several; the word scores as its best label."""


class StreamingModel:
    """Several words over one stream of embeddings.

    Not safe for use by several threads.
    """

    def __init__(self, mel: Mel, embeddings: Embeddings, words: Sequence[Word]) -> None:
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
        self._steps = 0

    def restart(self) -> None:
        """Forget everything heard, and wipe it."""
        self._mel.restart()
        self._embeddings.restart()
        self._scores[:] = 0
        self._steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score one frame; see ``WakeModel.push``."""
        hop = self._mel.hop_samples
        for step in range(self.steps_per_frame):
            mel = self._mel.step(samples[step * hop : (step + 1) * hop])
            self._embeddings.step(mel)
            self._steps += 1
            if self._steps > self._silent_steps:
                self._score(self._scores[step])
        return self._scores

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
