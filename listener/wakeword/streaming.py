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
from listener.wakeword.first_stage import PAIR_STEPS, FirstStage

SILENT_FRAMES: Final = 5
"""Frames at the start of a stream for which openWakeWord gives a score of 0."""
LAZY_WINDOW_FRAMES: Final = 16
"""Longest window of a head for which lazy steps are possible: 196 mel frames, just under 2 s."""
FAINT_SCORE: Final = 0.02
"""Score from which a room does not count as quiet."""
CATCH_UP_FRAMES: Final = 3
"""Frames over which the embedding network catches up when a word opens."""

_GROUPS: Final = 4
"""Groups in which mel bands are averaged: a single band of steady noise varies by 10 dB."""
_FRAMES: Final = 8
"""Mel frames whose maximum and mean are compared: 80 ms."""
_PEAK_RISE: Final = 0.6
"""Rise of the maximum above the floor that counts as loud: 6 dB."""
_MEAN_RISE: Final = 0.4
"""Rise of the mean above the floor that counts as loud: 4 dB."""
_FLOOR_RISE_PER_FRAME: Final = 0.001
"""Speed at which the floor rises: 1 dB per second; it falls at once."""
_LOWEST_FLOOR: Final = -1.0
"""Lowest floor, below one bit of noise; from a lower one it would take minutes to rise."""


def reach_steps(window_frames: int, hop_frames: int) -> int:
    """Return the steps in the receptive field of a score.

    Args:
        window_frames: embeddings, 80 ms apart, in the window of the head.
        hop_frames: mel frames in a step.
    """
    return -(-(RECEPTIVE_FRAMES + (window_frames - 1) * STEP_FRAMES) // hop_frames)


def pace_steps(reach_steps: int, steps_per_frame: int) -> int:
    """Return the steps that the network takes at most for each new one, to catch up in time.

    Args:
        reach_steps: steps that are stored.
        steps_per_frame: steps in a frame.
    """
    turns = CATCH_UP_FRAMES * steps_per_frame
    return -(-(reach_steps + turns - 1) // turns)


class Head(Protocol):
    """A wake-word network on a window of embeddings. Used by one thread at a time."""

    def score(self, window: Floats) -> Floats:
        """Return the outputs of the head.

        Args:
            window: the last embeddings, float32, shape (window_frames, 96).

        Returns:
            float32, shape (outputs,), 0 to 1; valid until the next call.
        """

    def wipe(self) -> None:
        """Overwrite the copy of the last window."""


@dataclass(frozen=True, slots=True)
class Word:
    """A wake word and its head."""

    name: str
    """Name of the model."""
    head: Head
    """The network."""
    window_frames: int
    """Embeddings in a window of the head."""
    labels: tuple[tuple[int, str], ...] = ()
    """Output and label, for a head with several; the word's score is that of its best label."""


class EnergyGate:
    """Energy gate with a noise floor for each group of bands. Not safe for several threads."""

    def __init__(self, hop_frames: int) -> None:
        """Allocate buffers for steps of ``hop_frames`` mel frames, 8 or a divisor of 8."""
        self._average = np.repeat(np.eye(_GROUPS, dtype=np.float32), BANDS // _GROUPS, axis=0)
        self._average /= BANDS // _GROUPS
        self._levels = np.empty((_FRAMES, _GROUPS), np.float32)
        self._parts = tuple(
            self._levels[first : first + hop_frames] for first in range(0, _FRAMES, hop_frames)
        )
        # Peaks, then sums, so that one call converts both to Python floats.
        self._measures = np.empty(2 * _GROUPS, np.float32)
        self._peaks, self._sums = self._measures[:_GROUPS], self._measures[_GROUPS:]
        climb = hop_frames * _FLOOR_RISE_PER_FRAME
        # Means are kept as sums of as many frames.
        self._rules = tuple(
            (index, rise * frames, climb * frames, _LOWEST_FLOOR * frames)
            for index, (rise, frames) in enumerate(
                [(_PEAK_RISE, 1)] * _GROUPS + [(_MEAN_RISE, _FRAMES)] * _GROUPS
            )
        )
        self.restart()

    def restart(self) -> None:
        """Overwrite all levels and start anew."""
        self._steps = 0
        self._floor = [np.inf] * (2 * _GROUPS)
        self._levels[:] = 0
        self._measures[:] = 0

    def is_loud(self, mel: Floats) -> bool:
        """Take the mel frames of a step; return whether a group rose above its floor.

        The first 80 ms count as loud, because there is no floor yet.

        Args:
            mel: float32, shape (hop_frames, 32).
        """
        np.matmul(mel, self._average, out=self._parts[self._steps % len(self._parts)])
        self._steps += 1
        if self._steps <= len(self._parts):
            return True
        np.maximum.reduce(self._levels, axis=0, out=self._peaks)
        np.add.reduce(self._levels, axis=0, out=self._sums)
        loud = False
        floor = self._floor
        for (index, rise, climb, lowest), level in zip(
            self._rules, self._measures.tolist(), strict=True
        ):
            before = floor[index]
            if level > before + rise:
                loud = True
            # It falls at once and rises slowly; a floor is never below the lowest.
            highest = before + climb
            if level > highest:
                floor[index] = highest
            elif level > lowest:
                floor[index] = level
            else:
                floor[index] = lowest
        return loud


class StreamingModel:
    """Scores of several words over one stream of audio.

    A lazy model computes only mel frames while a room is quiet. It puts a step off if nothing in
    the receptive field of its scores rose above the noise floor, and no score in that time reached
    `FAINT_SCORE`. When something rises, the model computes the steps that were put off from the
    stored mel frames, so that caches and embeddings are exact from then on.

    With a first stage, the embedding network and the heads run only for words that are open. When
    a word opens, the network catches up from the stored mel frames, over up to `CATCH_UP_FRAMES`
    frames so that none takes long; scores of these frames come together when it has caught up.
    Embeddings of a window of `LAZY_WINDOW_FRAMES` are exact then; the older ones of a longer window
    may be the student's, because no mel frame older than 2 s is stored.
    Implements `wakeword.detector.WakeModel`. Not safe for use by several threads.
    """

    def __init__(
        self,
        mel: Mel,
        embeddings: Embeddings,
        words: Sequence[Word],
        *,
        lazy: bool = False,
        first_stage: FirstStage | None = None,
    ) -> None:
        """Combine front end, embeddings and heads.

        Args:
            mel: the mel front end.
            embeddings: the embedding network and its ring buffer.
            words: the heads, in the order of the columns of the scores.
            lazy: put off steps in a quiet room. Ignored if a head's window is longer than
                ``LAZY_WINDOW_FRAMES``: its mel frames would be older than any audio that is stored.
            first_stage: decides which words are scored; None: all, at every step.
        """
        self._mel = mel
        self._embeddings = embeddings
        self._first_stage = first_stage
        self.words = tuple(word.name for word in words)
        """Names of the wake words."""
        self.columns = self.words + tuple(label for word in words for _, label in word.labels)
        """Names of the columns of the scores: words, then labels."""
        self.steps_per_frame = FRAME_SAMPLES // mel.hop_samples
        """Steps in a frame: 1 at a hop of 80 ms, 2 at 40 ms."""
        self._heads: list[tuple[Head, int]] = []
        self._labels: list[tuple[list[int], slice] | None] = []
        column = len(words)
        for word in words:
            self._heads.append((word.head, word.window_frames))
            outputs = [output for output, _ in word.labels]
            self._labels.append(
                (outputs, slice(column, column + len(outputs))) if outputs else None
            )
            column += len(outputs)
        self._silent_steps = SILENT_FRAMES * self.steps_per_frame
        longest = max(word.window_frames for word in words)
        hop_frames = STEP_FRAMES // self.steps_per_frame
        self._gate = EnergyGate(hop_frames) if lazy and longest <= LAZY_WINDOW_FRAMES else None
        window = longest if first_stage is None else min(longest, LAZY_WINDOW_FRAMES)
        self._reach_steps = reach_steps(window, hop_frames)
        # Steps after which an embedding no longer depends on a stale state.
        self._stale_steps = -(-RECEPTIVE_FRAMES // hop_frames) - 1
        stored_steps = self._reach_steps if self._gate or first_stage else 0
        self._stored = np.zeros((stored_steps, hop_frames, BANDS), np.float32)
        # Rows wait for as many frames; a frame of two steps may begin with a row that waits, too.
        frames = CATCH_UP_FRAMES + 1 if first_stage else 1
        self._scores = np.zeros((frames * self.steps_per_frame, len(self.columns)), np.float32)
        # Embeddings older than the stored frames stay the student's.
        self._has_students = first_stage is not None and longest > LAZY_WINDOW_FRAMES
        self._pace_steps = pace_steps(self._reach_steps, self.steps_per_frame)
        self._all_open = (True,) * len(words)
        self._pending: list[tuple[bool, ...]] = []
        self._warm_up_steps = self._waiting_rows = 0
        self._steps = self._calm_steps = self._put_off_steps = self._student_lag_steps = 0

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""
        self._mel.restart()
        self._embeddings.restart()
        if self._gate:
            self._gate.restart()
        if self._first_stage:
            self._first_stage.restart()
        for head, _ in self._heads:
            head.wipe()
        self._stored[:] = 0
        self._scores[:] = 0
        self._pending.clear()
        self._warm_up_steps = self._waiting_rows = 0
        self._steps = self._calm_steps = self._put_off_steps = self._student_lag_steps = 0

    def push(self, samples: Samples) -> Floats:
        """Score one frame; see ``WakeModel.push``."""
        hop = self._mel.hop_samples
        rows = self._waiting_rows
        for index in range(self.steps_per_frame):
            mel = self._mel.step(samples[index * hop : (index + 1) * hop])
            self._steps += 1
            if self._first_stage is not None:
                rows = self._two_stages(self._first_stage, mel, rows)
                continue
            scores = self._scores[rows]
            rows += 1
            if self._gate is not None and self._can_defer(self._gate, mel):
                scores[:] = np.nan
                continue
            self._embeddings.step(mel)
            if self._steps > self._silent_steps:
                self._score(scores, self._all_open)
                self._note_faint(scores)
            else:
                scores[:] = 0
        # The last row is always that of the newest step: rows wait until it is scored.
        self._waiting_rows = rows if self._pending else 0
        return self._scores[: rows - self._waiting_rows]

    def _can_defer(self, gate: EnergyGate, mel: Floats) -> bool:
        """Return whether this step can be put off; if not, compute the steps that were."""
        stored = self._stored
        newest = self._steps % len(stored)
        np.copyto(stored[newest], mel)
        if self._is_quiet(gate, mel):
            self._put_off_steps += 1
            return True
        if self._put_off_steps:
            # Older steps are outside every window by now.
            for back in range(min(self._put_off_steps, len(stored) - 1), 0, -1):
                self._embeddings.step(stored[newest - back])
            self._put_off_steps = 0
        return False

    def _is_quiet(self, gate: EnergyGate, mel: Floats) -> bool:
        """Return whether nothing rose over the receptive field of a score."""
        self._calm_steps = 0 if gate.is_loud(mel) else self._calm_steps + 1
        return self._calm_steps >= self._reach_steps

    def _two_stages(self, first_stage: FirstStage, mel: Floats, row: int) -> int:
        """Take a step with a first stage.

        Args:
            first_stage: decides which words are scored.
            mel: the mel frames of the step.
            row: first row of the scores that is free.

        Returns:
            The first row that is free then; this step has a row unless the network catches up.
        """
        stored = self._stored
        newest = self._steps % len(stored)
        np.copyto(stored[newest], mel)
        is_quiet = self._gate is not None and self._is_quiet(self._gate, mel)
        self._put_off_steps += 1
        if is_quiet and not self._pending:
            first_stage.close()
            self._student_lag_steps += 1
            self._scores[row] = np.nan
            return row + 1
        for back in range(min(self._student_lag_steps, len(stored) - 1), 0, -1):
            first_stage.skip(stored[newest - back])
        self._student_lag_steps = 0
        is_scored = self._steps > self._silent_steps
        opened = first_stage.step(mel, self._steps - 1, is_scored=is_scored)
        if not any(opened) and not self._pending:
            if self._has_students:
                self._put_students(first_stage)
            self._scores[row] = np.nan if is_scored else 0
            return row + 1
        if not self._pending:
            lag = min(self._put_off_steps, len(stored))
            if self._has_students:
                self._embeddings.rewind(lag - 1)
            # A state as old as the stored frames is stale.
            self._warm_up_steps = self._stale_steps if self._put_off_steps > lag else 0
            self._put_off_steps = lag
        self._pending.append(opened)
        return self._catch_up(newest, row)

    def _put_students(self, first_stage: FirstStage) -> None:
        """Use the student's embeddings for this step and, if they come in pairs, the one before."""
        older, newer = first_stage.embeddings
        # A step without its embedding yet gets a place; the next step is the newer of the pair.
        if self._put_off_steps >= PAIR_STEPS and self._steps % PAIR_STEPS == 0:
            self._embeddings.rewind(1)
            self._embeddings.put(older)
        self._embeddings.put(newer)

    def _catch_up(self, newest: int, row: int) -> int:
        """Run the network on stored steps, oldest first; score those whose words were open.

        A frame that catches up takes the steps at once; see ``Network.steps``.
        """
        oldest = newest + 1 - self._put_off_steps
        steps = range(oldest, oldest + min(self._pace_steps, self._put_off_steps))
        for embedding in self._embeddings.run([self._stored[step] for step in steps]):
            self._put_off_steps -= 1
            if self._warm_up_steps:
                self._warm_up_steps -= 1
                self._embeddings.skip()
                continue
            self._embeddings.put(embedding)
            if self._put_off_steps < len(self._pending):
                scores = self._scores[row]
                row += 1
                scores[:] = np.nan
                self._score(scores, self._pending.pop(0))
                self._note_faint(scores)
        return row

    def _note_faint(self, scores: Floats) -> None:
        """Let a room with a faint score not count as quiet."""
        if self._gate is not None and np.fmax.reduce(scores) >= FAINT_SCORE:
            self._calm_steps = 0

    def _score(self, scores: Floats, opened: tuple[bool, ...]) -> None:
        """Run the heads of the open words on the newest window."""
        for column, (head, window_frames) in enumerate(self._heads):
            if not opened[column]:
                continue
            outputs = head.score(self._embeddings.window(window_frames))
            labels = self._labels[column]
            if labels is None:
                scores[column] = outputs[0]
            else:
                labelled, columns = labels
                scores[columns] = outputs[labelled]
                scores[column] = scores[columns].max()
