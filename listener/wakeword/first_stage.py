"""First stage: decides from the student's embeddings at which steps the full network must run.

A small head of each word, the word's own head, or both score the student's embeddings. Where these
scores reach the word's bounds, the word is open for `HOLD_FRAMES` frames, and its scores come from
the full network; elsewhere they are not computed. ``docs/decisions/0073`` gives the measurements
behind the constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from listener.wakeword.embedding import FEATURES, Embeddings, Network
from listener.wakeword.features import BANDS, Floats
from listener.wakeword.student_head import (
    STUDENT_WINDOW_FRAMES,
    StudentHeads,
    StudentHeadWeights,
)

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


@dataclass(frozen=True, slots=True)
class StageWord:
    """What opens a word: its student head, its own head, or both."""

    own: Any
    """A `streaming.Word`: window, labels and its own head."""
    own_bound: float | None
    """Score of the own head on the student's embeddings at which the word opens; None: it is not
    asked."""
    student_head: StudentHeadWeights | None = None
    """None: the own head is asked at every turn; else it is asked where this head's score
    reaches ``student_bound``."""
    student_bound: float = 0.0
    """Score of the student head."""

    @property
    def outputs(self) -> list[int]:
        """Outputs of the own head that count."""
        return [output for output, _ in self.own.labels]

    @property
    def window_frames(self) -> int:
        """Embeddings in the longest window that is scored."""
        if self.own_bound is None:
            return STUDENT_WINDOW_FRAMES
        own: int = self.own.window_frames
        return own if self.student_head is None else max(own, STUDENT_WINDOW_FRAMES)

    @property
    def turn_window(self) -> int | None:
        """See `turn_pairs`."""
        return self.own.window_frames if self.student_head is None else None


def join_student_heads(words: Sequence[StageWord]) -> tuple[StudentHeads | None, list[int]]:
    """Return the student heads of those words that have one, and the places of these words."""
    places = [place for place, word in enumerate(words) if word.student_head is not None]
    weights = [head for word in words if (head := word.student_head) is not None]
    return (StudentHeads(weights) if weights else None), places


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
        words: Sequence[StageWord],
        steps_per_frame: int,
    ) -> None:
        """Combine the student with the heads.

        Args:
            student: the student.
            words: in the order of the scores.
            steps_per_frame: steps in a frame.
        """
        self._student = student
        self._embeddings = Embeddings(student, max(word.window_frames for word in words))
        self._own = tuple(
            None
            if word.own_bound is None
            else (
                word.own.head,
                word.own.window_frames,
                word.outputs,
                float(np.float32(word.own_bound)),
            )
            for word in words
        )
        self._student_heads, self._places = join_student_heads(words)
        self._student_bounds = np.array(
            [words[place].student_bound for place in self._places], np.float32
        )
        self._asked = [word.student_head is None for word in words]
        self._hold = hold_steps(steps_per_frame)
        self._turns = turn_pairs([word.turn_window for word in words])
        self._mel = np.zeros((PAIR_STEPS, student.hop_frames, BANDS), np.float32)
        self._both = self._mel.reshape(-1, BANDS)
        self._waiting = 0
        self._latest = np.zeros((PAIR_STEPS, FEATURES), np.float32)
        self._closed = (False,) * len(words)
        self._left = [0] * len(words)

    def restart(self) -> None:
        """Overwrite all features and start anew."""
        self._embeddings.restart()
        self._mel[:] = 0
        self._latest = np.zeros((PAIR_STEPS, FEATURES), np.float32)
        self._waiting = 0
        if self._student_heads:
            self._student_heads.wipe()
        for own in self._own:
            if own is not None:
                own[0].wipe()
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
            asked = self._ask_student_heads()
            for index, is_asked in enumerate(asked):
                if is_asked and not (pair + index) % self._turns[index] and self._reaches(index):
                    left[index] = self._hold + 1
        if not any(left):
            return self._closed
        self._left = left = [max(steps - 1, 0) for steps in left]
        return tuple(steps > 0 for steps in left)

    def _ask_student_heads(self) -> list[bool]:
        """Return whether each word may open now; words without a student head may."""
        if self._student_heads is None:
            return self._asked
        scores = self._student_heads.score(self._embeddings.window(STUDENT_WINDOW_FRAMES))
        asked = self._asked.copy()
        for place, reaches in zip(
            self._places, (scores >= self._student_bounds).tolist(), strict=True
        ):
            asked[place] = reaches
        return asked

    def _reaches(self, index: int) -> bool:
        """Return whether the own head of a word, if it is asked, reaches its bound."""
        own = self._own[index]
        if own is None:
            return True
        head, window_frames, outputs, bound = own
        return bool(
            best_output(head.score(self._embeddings.window(window_frames)), outputs) >= bound
        )

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
    """Open steps of a recording from where scores reach the bounds, in batches."""

    def __init__(self, windows: Sequence[int | None]) -> None:
        """Start with every word closed, at one step in a frame.

        Args:
            windows: as for `turn_pairs`.
        """
        self._hold = hold_steps(1)
        self._turns = np.array(turn_pairs(windows))
        self.restart()

    def restart(self) -> None:
        """Close every word."""
        self._past = np.zeros((self._hold - 1, len(self._turns)), np.bool_)
        self._steps = 0

    def push(self, reached: Mask) -> Mask:
        """Return whether each word is open at each step.

        Args:
            reached: whether the scores of a word reach its bounds, shape (n, words).
        """
        step = self._steps + np.arange(len(reached))[:, None]
        pair, place = np.divmod(step, PAIR_STEPS)
        has_turn = (pair + np.arange(len(self._turns))) % self._turns == 0
        is_turn = has_turn & (place == PAIR_STEPS - 1)
        self._steps += len(reached)
        opened = np.concatenate([self._past, reached & is_turn])
        self._past = opened[len(opened) - len(self._past) :].copy()
        mask = np.zeros(reached.shape, np.bool_)
        for back in range(self._hold):
            mask |= opened[self._hold - 1 - back : len(opened) - back]
        return mask
