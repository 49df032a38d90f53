"""Batch computation of openWakeWord's models over many steps, for scoring recordings.

The arithmetic of ``streaming.py`` for seconds of audio at a time, so that the networks read their
weights once for many steps. Scores equal those of the device within rounding.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.wakeword.embedding import FEATURES, RECEPTIVE_FRAMES, STEP_FRAMES
from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Floats, Mel
from listener.wakeword.streaming import SILENT_FRAMES, Word

BATCH_STEPS: Final = 128
"""Steps in a batch: 10 s of audio. An eighth faster than 32; more gains little."""


class LongNetwork(Protocol):
    """A streaming network for any number of steps. Used by one thread at a time."""

    def steps(self, mel: Floats) -> Floats:
        """Return the embeddings of the windows that end with each step.

        Args:
            mel: float32, shape (8 * n, 32), n at least 1.

        Returns:
            float32, shape (n, 96).
        """

    def state(self) -> Any:  # noqa: ANN401 - opaque, the network's own
        """Return the cached columns; later steps do not change them."""

    def resume(self, state: Any) -> None:  # noqa: ANN401 - opaque, the network's own
        """Restore a state that ``state`` returned."""


class Scorer(Protocol):
    """A head bound to a buffer of embeddings."""

    def score(self, first_end: int, last_end: int) -> Floats:
        """Return the outputs for the windows that end at ``first_end`` to ``last_end``.

        Args:
            first_end: end of the first window, in rows of the buffer.
            last_end: end of the last window.

        Returns:
            float32, shape (last_end - first_end + 1, outputs); valid until the next call.
        """


class ManyHead(Protocol):
    """A head for many windows of one buffer."""

    def over(self, embeddings: Floats) -> Scorer:
        """Bind the head to a buffer that is not reallocated.

        Args:
            embeddings: float32, shape (rows, 96), contiguous.
        """


class BatchModel:
    """Scores of several words in batches, at a hop of 80 ms. Not safe for several threads."""

    def __init__(
        self,
        weights: Floats,
        network: LongNetwork,
        words: Sequence[Word],
        heads: Sequence[ManyHead],
        batch_steps: int = BATCH_STEPS,
    ) -> None:
        """Compute the start state; this runs the network for a few milliseconds.

        Args:
            weights: of the mel bands, float32, shape (120, 32).
            network: the embedding network.
            words: name, window and labels of each head.
            heads: heads in the same order.
            batch_steps: steps in a batch.
        """
        self.words = tuple(word.name for word in words)
        """Names of the wake words, in the order of the columns of the scores."""
        self._mel = Mel(weights, STEP_FRAMES, batch_steps)
        self._network = network
        self._longest = max(word.window_frames for word in words)
        self._samples = np.zeros(batch_steps * FRAME_SAMPLES, np.int16)
        self._batch_steps = batch_steps
        self._silent = settle(network, SILENT_LEVEL)
        settle(network, START_LEVEL)
        self._start = network.state()
        # Embeddings of the previous batch that windows still cover, then the new ones.
        self._embeddings = np.empty((self._longest - 1 + batch_steps, FEATURES), np.float32)
        self._heads = tuple(
            (word.labels, head.over(self._embeddings))
            for word, head in zip(words, heads, strict=True)
        )
        self.restart()

    def restart(self) -> None:
        """Start anew."""
        self._mel.restart()
        self._network.resume(self._start)
        self._embeddings[:] = self._silent
        self._steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score whole frames that follow the previous ones without a gap.

        Args:
            samples: int16, shape (n * 1280,), n from 1 to ``batch_steps``. Fewer than
                ``batch_steps`` end the stream; call ``restart`` next.

        Returns:
            float32, shape (n, words), 0 to 1.
        """
        count = len(samples) // FRAME_SAMPLES
        if count < self._batch_steps:
            # Mel frames are causal, so padding after the end changes nothing before it.
            self._samples[: len(samples)] = samples
            self._samples[len(samples) :] = 0
            samples = self._samples
        mel = self._mel.step(samples)[: count * STEP_FRAMES]
        past = self._longest - 1
        self._embeddings[:past] = self._embeddings[self._batch_steps :]
        self._embeddings[past : past + count] = self._network.steps(mel)
        scores = np.zeros((count, len(self.words)), np.float32)
        silent = min(max(SILENT_FRAMES - self._steps, 0), count)
        self._steps += count
        if silent < count:
            self._score(scores[silent:], past + silent + 1, past + count)
        return scores

    def _score(self, scores: Floats, first_end: int, last_end: int) -> None:
        """Run every head on the windows that end at ``first_end`` to ``last_end``."""
        for column, (labels, head) in enumerate(self._heads):
            outputs = head.score(first_end, last_end)
            if labels:
                scores[:, column] = outputs[:, [output for output, _ in labels]].max(axis=1)
            else:
                scores[:, column] = outputs[:, 0]


def settle(network: LongNetwork, level: float) -> Floats:
    """Run a network on a constant over its receptive field; return the last embedding.

    Args:
        network: its state is that of the constant afterwards.
        level: value of every band.
    """
    frames = -(-RECEPTIVE_FRAMES // STEP_FRAMES) * STEP_FRAMES
    last: Floats = network.steps(np.full((frames, BANDS), level, np.float32))[-1]
    return last.copy()
