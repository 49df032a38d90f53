"""openWakeWord's models over many steps at once, for who scores recordings.

The same arithmetic as ``streaming.py``, a second or so of sound at a time: the networks read
their weights once for many steps. Scores equal those of the device within rounding.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.wakeword.embedding import FEATURES, RECEPTIVE_FRAMES, STEP_FRAMES
from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Floats, Mel
from listener.wakeword.streaming import SILENT_FRAMES, Word

BATCH_STEPS: Final = 128
"""Steps at once: ten seconds of sound. An eighth quicker than 32; with more little is gained."""


class LongNetwork(Protocol):
    """The streaming convolutions over any number of steps."""

    def steps(self, mel: Floats) -> Floats:
        """Return the embeddings of the windows that end with each step.

        Args:
            mel: shape (8 * n, 32), any n from 1.

        Returns:
            Shape (n, 96).
        """

    def state(self) -> Any:  # noqa: ANN401 - opaque, the network's own
        """Return the columns kept; steps do not change them."""

    def resume(self, state: Any) -> None:  # noqa: ANN401 - opaque, the network's own
        """Go on from a state that ``state`` returned."""


class Scorer(Protocol):
    """A head that was bound to a buffer of embeddings."""

    def score(self, first_end: int, last_end: int) -> Floats:
        """Return the outputs for the windows that end at ``first_end`` to ``last_end``.

        Args:
            first_end: end of the first window, in rows of the buffer.
            last_end: end of the last one.

        Returns:
            Shape (last_end - first_end + 1, outputs); valid until the next call.
        """


class ManyHead(Protocol):
    """A head that looks at many windows of one buffer."""

    def over(self, embeddings: Floats) -> Scorer:
        """Bind it to a buffer that stays where it is.

        Args:
            embeddings: shape (rows, 96), contiguous.
        """


class BatchModel:
    """Several words over one stream of embeddings, at a hop of 80 ms. Not thread-safe."""

    def __init__(
        self,
        weights: Floats,
        network: LongNetwork,
        words: Sequence[Word],
        heads: Sequence[ManyHead],
        batch_steps: int = BATCH_STEPS,
    ) -> None:
        """Find the start values; this runs the network for a few milliseconds.

        Args:
            weights: of the mel bands, shape (120, 32).
            network: the convolutions.
            words: name, window and labels of each head.
            heads: in the same order.
            batch_steps: how many steps are computed at once.
        """
        self.words = tuple(word.name for word in words)
        """The wake words, in the order of the columns of the scores."""
        self._mel = Mel(weights, STEP_FRAMES, batch_steps)
        self._network = network
        self._longest = max(word.window_frames for word in words)
        self._samples = np.zeros(batch_steps * FRAME_SAMPLES, np.int16)
        self._batch_steps = batch_steps
        self._silent = self._settle(SILENT_LEVEL)
        self._settle(START_LEVEL)
        self._start = network.state()
        # The embeddings that windows still reach back to, and behind them the new ones.
        self._embeddings = np.empty((self._longest - 1 + batch_steps, FEATURES), np.float32)
        self._heads = tuple(
            (word.labels, head.over(self._embeddings))
            for word, head in zip(words, heads, strict=True)
        )
        self.restart()

    def restart(self) -> None:
        """Forget everything heard."""
        self._mel.restart()
        self._network.resume(self._start)
        self._embeddings[:] = self._silent
        self._steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score whole frames that follow the last ones without a gap.

        Args:
            samples: int16, shape (n * 1280,), n from 1 to ``batch_steps``. After fewer than
                ``batch_steps`` the stream has ended: ``restart`` comes next.

        Returns:
            Shape (n, words).
        """
        count = len(samples) // FRAME_SAMPLES
        if count < self._batch_steps:
            # No mel frame looks ahead, so what follows the end changes nothing before it.
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
        """Ask every head about the windows that end at ``first_end`` to ``last_end``."""
        for column, (labels, head) in enumerate(self._heads):
            outputs = head.score(first_end, last_end)
            if labels:
                scores[:, column] = outputs[:, [output for output, _ in labels]].max(axis=1)
            else:
                scores[:, column] = outputs[:, 0]

    def _settle(self, level: float) -> Floats:
        """Run the network over a constant until it has forgotten all else; its last embedding."""
        frames = -(-RECEPTIVE_FRAMES // STEP_FRAMES) * STEP_FRAMES
        last: Floats = self._network.steps(np.full((frames, BANDS), level, np.float32))[-1]
        return last.copy()
