"""Embeddings of recordings, computed by the streaming front end that scores them on the device.

The melspectrogram clips relative to the loudest band of a step, so a front end that sees a whole
recording at once gives other numbers. Here a `BatchModel` runs as for an evaluation, and a head
that keeps its windows takes the place of the wake words.
"""

from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.inference.build import mel_weights
from listener.inference.onnx import LongNet
from listener.wakeword.batch import BATCH_STEPS, BatchModel
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats
from listener.wakeword.manifest import Model
from listener.wakeword.streaming import SILENT_FRAMES, Word

WINDOW_FRAMES: Final = 16
"""Embeddings in the window of a head: 1.28 s of steps, as openWakeWord's heads have."""
FIRST_WINDOW: Final = SILENT_FRAMES + WINDOW_FRAMES - 1
"""First step of a stream whose window holds computed embeddings only."""


class Embedder:
    """Computes the embeddings of recordings. Not safe for use by several threads."""

    def __init__(self, embedding: Model, long: Model) -> None:
        """Load the networks.

        Args:
            embedding: the streaming embedding network; its mel weights are used.
            long: the embedding network that takes any number of steps.

        Raises:
            ModelRefused: a file is not a model that can be run.
        """
        tap = _EmbeddingTap()
        self._tap = tap
        self._model = BatchModel(
            mel_weights(embedding),
            LongNet(long.data, long.name),
            [Word("embedding", _UnusedHead(), WINDOW_FRAMES)],
            [tap],
        )

    def embed(self, samples: Samples) -> Floats:
        """Return the embedding of each whole step of a recording, from the start of a stream.

        Args:
            samples: int16 at 16 kHz, shape (n,); an incomplete step at the end is ignored.

        Returns:
            float32, shape (n // 1280, 96). The rows before step 5, for which a stream has no
            scores, are 0.
        """
        steps = len(samples) // FRAME_SAMPLES
        self._model.restart()
        self._tap.rows = [np.zeros((min(SILENT_FRAMES, steps), FEATURES), np.float32)]
        for first in range(0, steps, BATCH_STEPS):
            last = min(first + BATCH_STEPS, steps)
            self._model.push(samples[first * FRAME_SAMPLES : last * FRAME_SAMPLES])
        return np.concatenate(self._tap.rows)


class _EmbeddingTap:
    """A batch head that keeps the newest embedding of each window, and gives scores of 0."""

    def __init__(self) -> None:
        self.rows: list[Floats] = []
        self._buffer = np.zeros((0, FEATURES), np.float32)

    def over(self, embeddings: Floats) -> "_EmbeddingTap":
        """See ``ManyHead.over``."""
        self._buffer = embeddings
        return self

    def score(self, first_end: int, last_end: int) -> Floats:
        """See ``Scorer.score``."""
        self.rows.append(self._buffer[first_end - 1 : last_end].copy())
        return np.zeros((last_end - first_end + 1, 1), np.float32)


class _UnusedHead:
    """The head of a word that is scored in batches alone."""

    def score(self, window: Floats) -> Floats:
        """See ``Head.score``."""
        return np.zeros(len(window[:1]), np.float32)

    def wipe(self) -> None:
        """See ``Head.wipe``."""
