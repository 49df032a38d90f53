"""First stage: decides from the student's embeddings at which steps the full network must run.

A small head of each word, or the word's own head, scores the student's embeddings. Where that score
reaches the word's bound, the word is open for `HOLD_FRAMES` frames, and its scores come from the
full network; elsewhere they are not computed. ``docs/decisions/0073`` gives the measurements behind
the constants.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from listener.wakeword.embedding import FEATURES, Embeddings, Network
from listener.wakeword.features import BANDS, Floats
from listener.wakeword.student_head import StudentHead

Mask = NDArray[np.bool_]

HOLD_FRAMES: Final = 4
"""Frames that a word stays open, the one that opened it included."""


PAIR_STEPS: Final = 2
"""Steps that the student takes at once; heads score the newer one."""
MANY_WORDS: Final = 4
"""Words' own heads up to which each scores at every pair of steps."""
TURN_WINDOW_FRAMES: Final = 16
"""Longest window of a head that takes turns. Longer ones gave some words a score at one step only,
just after the word opened."""


def turn_pairs(windows: Sequence[int | None]) -> tuple[int, ...]:
    """Return the pairs of steps between two scores of each head: some of many heads take turns.

    An open word stays open for as long, so that a word is open at most so much later. Student heads
    take none: they cost little.

    Args:
        windows: embeddings in a window of each word's own head; None for a student head.
    """
    are_many = len(windows) - windows.count(None) > MANY_WORDS
    return tuple(
        2 if are_many and window is not None and window <= TURN_WINDOW_FRAMES else 1
        for window in windows
    )


def own_window(head: object, window_frames: int) -> int | None:
    """Return the window of a word's own head; None if the head is a student head."""
    return None if isinstance(head, StudentHead) else window_frames


def hold_steps(steps_per_frame: int) -> int:
    """Return the steps that a word stays open, the one that opened it included."""
    return HOLD_FRAMES * steps_per_frame


class CatchUp:
    """How late a device has the scores of a stream, at one step in a frame.

    The arithmetic of `streaming.StreamingModel`, whose network takes some of the steps that it has
    put off at each frame, for the models of recordings, which have all scores at once.
    """

    def __init__(self, reach_steps: int, pace_steps: int) -> None:
        """Start with no steps put off.

        Args:
            reach_steps: steps that are stored; older ones are never computed.
            pace_steps: steps that the network takes at a frame, 2 or more.
        """
        self._reach = reach_steps
        self._pace = pace_steps
        self.restart()

    def restart(self) -> None:
        """Start anew."""
        self._put_off = 0
        self._is_behind = False
        self.computed_steps = 0
        """Steps that the network has taken."""

    def push(self, *, is_open: bool) -> int:
        """Take a step; return how many frames later its scores come.

        Args:
            is_open: whether a word is open at it.
        """
        self._put_off += 1
        if not self._is_behind:
            if not is_open:
                return 0
            self._put_off = min(self._put_off, self._reach)
        taken = min(self._pace, self._put_off)
        self.computed_steps += taken
        self._put_off -= taken
        self._is_behind = self._put_off > 0
        # Each frame adds a step.
        return -(-self._put_off // (self._pace - 1))


def best_output(outputs: Floats, labels: list[int]) -> Any:  # noqa: ANN401 - a scalar or an array, as numpy reduces
    """Return the score of a word from the outputs of its head.

    Args:
        outputs: shape (outputs,) or (n, outputs).
        labels: outputs that count; none means the first.
    """
    return outputs[..., labels].max(axis=-1) if labels else outputs[..., 0]


class Student(Network, Protocol):
    """The student of the embedding network."""

    def pair(self, mel: Floats) -> Floats:
        """Take two steps at once.

        Args:
            mel: float32, shape (2 * hop_frames, 32).

        Returns:
            float32, shape (2, 96), the older first; valid until the next step.
        """


class FirstStage:
    """First stage of one stream. Not safe for use by several threads."""

    def __init__(
        self,
        student: Student,
        heads: Sequence[Any],
        bounds: Sequence[float],
        steps_per_frame: int,
    ) -> None:
        """Combine the student with the heads.

        Args:
            student: the student.
            heads: a `streaming.Word` for each word, in the order of the scores, with the head that
                scores the student's embeddings.
            bounds: score of each head at which its word opens.
            steps_per_frame: steps in a frame.
        """
        self._student = student
        self._embeddings = Embeddings(student, max(word.window_frames for word in heads))
        self._heads = tuple(
            (word.head, word.window_frames, [output for output, _ in word.labels]) for word in heads
        )
        self._bounds = tuple(bounds)
        self._hold = hold_steps(steps_per_frame)
        self._turns = turn_pairs([own_window(word.head, word.window_frames) for word in heads])
        self._mel = np.zeros((PAIR_STEPS, student.hop_frames, BANDS), np.float32)
        self._both = self._mel.reshape(-1, BANDS)
        self._waiting = 0
        self._latest = np.zeros((PAIR_STEPS, FEATURES), np.float32)
        self._closed = (False,) * len(self._heads)
        self._left = [0] * len(self._heads)

    def restart(self) -> None:
        """Overwrite all features and start anew."""
        self._embeddings.restart()
        self._mel[:] = 0
        self._latest = np.zeros((PAIR_STEPS, FEATURES), np.float32)
        self._waiting = 0
        for head, _, _ in self._heads:
            head.wipe()
        self.close()

    @property
    def embeddings(self) -> Floats:
        """The student's embeddings of the last pair, shape (2, 96); valid until its next step."""
        return self._latest

    def skip(self, mel: Floats) -> None:
        """Take a step that no head scores; no word opens by it, and open words do not age."""
        np.copyto(self._mel[self._waiting], mel)
        self._waiting += 1
        if self._waiting == PAIR_STEPS:
            self._take()

    def close(self) -> None:
        """Close every word."""
        self._left = [0] * len(self._left)

    def step(self, mel: Floats, number: int, *, is_scored: bool) -> tuple[bool, ...]:
        """Take the mel frames of a step; return which words are open at it.

        Args:
            mel: shape (hop_frames, 32).
            number: steps of the stream before it.
            is_scored: whether heads run; they do not in the first frames of a stream.
        """
        self.skip(mel)
        left = self._left
        pair, place = divmod(number, PAIR_STEPS)
        is_turn = place == PAIR_STEPS - 1
        if is_turn and self._waiting:
            self._take()
        if is_turn and is_scored:
            for index, (head, window_frames, labels) in enumerate(self._heads):
                if (pair + index) % self._turns[index]:
                    continue
                outputs = head.score(self._embeddings.window(window_frames))
                if best_output(outputs, labels) >= self._bounds[index]:
                    left[index] = self._hold + 1
        if not any(left):
            return self._closed
        self._left = left = [max(steps - 1, 0) for steps in left]
        return tuple(steps > 0 for steps in left)

    def _take(self) -> None:
        """Let the student take the steps that wait, one or two."""
        if self._waiting == PAIR_STEPS:
            self._latest = self._student.pair(self._both)
            for embedding in self._latest:
                self._embeddings.put(embedding)
        else:
            self._embeddings.put(self._student.step(self._mel[0]))
        self._waiting = 0


class OpenSteps:
    """Open steps of a recording from scores on the student's embeddings, in batches."""

    def __init__(self, bounds: Sequence[float], windows: Sequence[int | None]) -> None:
        """Start with every word closed, at one step in a frame.

        Args:
            bounds: score at which each word opens.
            windows: as for `turn_pairs`.
        """
        self._bounds = np.array(bounds, np.float32)
        self._hold = hold_steps(1)
        self._turns = np.array(turn_pairs(windows))
        self.restart()

    def restart(self) -> None:
        """Close every word."""
        self._past = np.zeros((self._hold - 1, len(self._bounds)), np.bool_)
        self._steps = 0

    def push(self, scores: Floats) -> Mask:
        """Return whether each word is open at each step.

        Args:
            scores: of the student's embeddings, shape (n, words).
        """
        step = self._steps + np.arange(len(scores))[:, None]
        pair, place = np.divmod(step, PAIR_STEPS)
        has_turn = (pair + np.arange(len(self._bounds))) % self._turns == 0
        is_turn = has_turn & (place == PAIR_STEPS - 1)
        self._steps += len(scores)
        reached = np.concatenate([self._past, (scores >= self._bounds) & is_turn])
        self._past = reached[len(reached) - len(self._past) :].copy()
        mask = np.zeros(scores.shape, np.bool_)
        for back in range(self._hold):
            mask |= reached[self._hold - 1 - back : len(reached) - back]
        return mask
