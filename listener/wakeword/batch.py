"""Batch computation of openWakeWord's models over many steps, for scoring recordings.

The arithmetic of ``streaming.py`` for seconds of audio at a time, so that the networks read their
weights once for many steps. Scores equal those of the device within rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.wakeword.embedding import FEATURES, RECEPTIVE_FRAMES, STEP_FRAMES
from listener.wakeword.features import BANDS, SILENT_LEVEL, START_LEVEL, Floats, Mel
from listener.wakeword.first_stage import (
    CatchUp,
    Mask,
    OpenSteps,
    StageWord,
    best_output,
    join_student_heads,
)
from listener.wakeword.streaming import (
    LAZY_WINDOW_FRAMES,
    SILENT_FRAMES,
    Word,
    pace_steps,
    reach_steps,
)

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


@dataclass(frozen=True, slots=True)
class BatchStage:
    """The first stage of recordings."""

    student: LongNetwork
    """The student of the embedding network."""
    words: Sequence[StageWord]
    """What opens each word."""
    heads: Sequence[ManyHead]
    """Their own heads."""


class BatchModel:
    """Scores of several words in batches, at a hop of 80 ms. Not safe for several threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the model, each from its own file
        self,
        weights: Floats,
        network: LongNetwork,
        words: Sequence[Word],
        heads: Sequence[ManyHead],
        batch_steps: int = BATCH_STEPS,
        first_stage: BatchStage | None = None,
    ) -> None:
        """Compute the start state; this runs the network for a few milliseconds.

        Args:
            weights: of the mel bands, float32, shape (120, 32).
            network: the embedding network.
            words: name, window and labels of each head.
            heads: heads in the same order.
            batch_steps: steps in a batch.
            first_stage: of the same words in the same order; None: every step is scored.
        """
        self.words = tuple(word.name for word in words)
        """Names of the wake words, in the order of the columns of the scores."""
        self.late_frames: Sequence[int] = ()
        """Frames after each step of the last push at which a device has its scores."""
        self._mel = Mel(weights, STEP_FRAMES, batch_steps)
        self._network = network
        windows = [word.window_frames for word in words]
        if first_stage is not None:
            windows += [word.window_frames for word in first_stage.words]
        self._longest = max(windows)
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
        self._first_stage = (
            None
            if first_stage is None
            else _BatchFirstStage(first_stage, self._longest, self._embeddings)
        )
        self.restart()

    def restart(self) -> None:
        """Start anew."""
        self._mel.restart()
        self._network.resume(self._start)
        self._embeddings[:] = self._silent
        if self._first_stage:
            self._first_stage.restart(self._silent)
        self._steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score whole frames that follow the previous ones without a gap.

        Args:
            samples: int16, shape (n * 1280,), n from 1 to ``batch_steps``. Fewer than
                ``batch_steps`` end the stream; call ``restart`` next.

        Returns:
            float32, shape (n, words), 0 to 1; NaN where a first stage lets nothing be computed.
        """
        count = len(samples) // FRAME_SAMPLES
        if count < self._batch_steps:
            # Mel frames are causal, so padding after the end changes nothing before it.
            self._samples[: len(samples)] = samples
            self._samples[len(samples) :] = 0
            samples = self._samples
        mel = self._mel.step(samples)[: count * STEP_FRAMES]
        past = self._longest - 1
        scores = np.zeros((count, len(self.words)), np.float32)
        silent = min(max(SILENT_FRAMES - self._steps, 0), count)
        self._steps += count
        embeddings = self._network.steps(mel)
        opened = None
        if self._first_stage:
            opened, self.late_frames = self._first_stage.push(mel, embeddings, silent)
        else:
            self.late_frames = (0,) * count
            self._embeddings[:past] = self._embeddings[self._batch_steps :]
            self._embeddings[past : past + count] = embeddings
        if silent < count:
            score_windows(self._heads, scores[silent:], past + silent + 1, past + count)
        if opened is not None:
            scores[silent:][~opened[silent:]] = np.nan
        return scores


def score_windows(
    heads: Sequence[tuple[Sequence[tuple[int, str]], Scorer]],
    scores: Floats,
    first_end: int,
    last_end: int,
) -> None:
    """Run every head on the windows that end at ``first_end`` to ``last_end``.

    Args:
        heads: labels and head of each word.
        scores: receives them, shape (last_end - first_end + 1, words).
        first_end: end of the first window, in rows of the heads' buffer.
        last_end: end of the last window.
    """
    for column, (labels, head) in enumerate(heads):
        outputs = head.score(first_end, last_end)
        scores[:, column] = best_output(outputs, [output for output, _ in labels])


class _BatchFirstStage:
    """The first stage of a recording, and the embeddings that a device has with it.

    Beyond the window that a device can compute from its stored mel frames, it has the student's
    embeddings where the embedding network did not run.
    """

    def __init__(self, stage: BatchStage, longest: int, mixed: Floats) -> None:
        self._student = student = stage.student
        self._silent = settle(student, SILENT_LEVEL)
        settle(student, START_LEVEL)
        self._start = student.state()
        self._mixed = mixed
        self._exact = np.empty_like(mixed)
        self._approximate = np.empty_like(mixed)
        self._words = stage.words
        self._own = tuple(head.over(self._approximate) for head in stage.heads)
        joined, self._places = join_student_heads(stage.words)
        self._student_heads = joined.over(self._approximate) if joined else None
        self._student_bounds = np.array(
            [stage.words[place].student_bound for place in self._places], np.float32
        )
        self._is_exact = np.empty(len(mixed), np.bool_)
        self._open = OpenSteps([word.turn_window for word in stage.words])
        self._past = longest - 1
        window = min(longest, LAZY_WINDOW_FRAMES)
        self._reach = reach_steps(window, STEP_FRAMES)
        self._window = window
        self._catch_up = CatchUp(self._reach, pace_steps(self._reach, 1))

    def restart(self, silent: Floats) -> None:
        """Start anew, with the embedding network's embedding of silence."""
        self._student.resume(self._start)
        self._exact[:] = self._mixed[:] = silent
        self._approximate[:] = self._silent
        self._is_exact[:] = True
        self._open.restart()
        self._catch_up.restart()
        self._behind = 0

    def push(self, mel: Floats, embeddings: Floats, silent: int) -> tuple[Mask, list[int]]:
        """Take the next steps, and update ``mixed``.

        Args:
            mel: shape (8 * n, 32).
            embeddings: of the embedding network, shape (n, 96).
            silent: steps at the beginning at which no head runs.

        Returns:
            Which words are open at each step, and how many frames late a device scores it.
        """
        past, count = self._past, len(embeddings)
        for buffer in (self._exact, self._approximate, self._is_exact):
            buffer[:past] = buffer[len(buffer) - past :].copy()
        self._exact[past : past + count] = embeddings
        self._approximate[past : past + count] = self._student.steps(mel)
        reached = np.zeros((count, len(self._words)), np.bool_)
        if silent < count:
            self._score(reached[silent:], past + silent + 1)
        opened = self._open.push(reached)
        late = []
        for step, is_open in enumerate(np.any(opened, axis=1).tolist(), past):
            late.append(self._catch_up.push(is_open=is_open))
            self._behind += 1
            self._is_exact[step] = is_open
            if is_open:
                # A state as old as the stored frames is stale: the first steps only warm it up.
                known = self._behind if self._behind <= self._reach else self._window
                self._is_exact[max(0, step + 1 - known) : step + 1] = True
                self._behind = 0
        np.copyto(self._mixed, self._approximate)
        self._mixed[self._is_exact] = self._exact[self._is_exact]
        return opened, late

    def _score(self, reached: Mask, first_end: int) -> None:
        """Set where the scores of each word reach its bounds.

        Args:
            reached: shape (n, words).
            first_end: end of the first window, in rows of the buffer.
        """
        reached[:] = True
        if self._student_heads is not None:
            scores = self._student_heads.score(first_end, first_end + len(reached) - 1)
            reached[:, self._places] = scores >= self._student_bounds
        for column, (word, head) in enumerate(zip(self._words, self._own, strict=True)):
            steps = np.flatnonzero(reached[:, column])
            if word.own_bound is None or not len(steps):
                continue
            first, last = int(steps[0]), int(steps[-1])
            outputs = head.score(first_end + first, first_end + last)
            reached[first : last + 1, column] &= best_output(outputs, word.outputs) >= np.float32(
                word.own_bound
            )


def settle(network: LongNetwork, level: float) -> Floats:
    """Run a network on a constant over its receptive field; return the last embedding.

    Args:
        network: its state is that of the constant afterwards.
        level: value of every band.
    """
    frames = -(-RECEPTIVE_FRAMES // STEP_FRAMES) * STEP_FRAMES
    last: Floats = network.steps(np.full((frames, BANDS), level, np.float32))[-1]
    return last.copy()
