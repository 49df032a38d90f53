"""What gives scores, behind one Protocol: our own models, or another engine's.

The scores of one item, as any engine gives them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import Samples

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoreTrack:
    """Every step's scores over one play of one item.

    Positions are samples at 16 kHz from the start of the item, whatever phase it was played at.
    """

    words: tuple[str, ...]
    """What the columns are: names of models."""
    scores: Scores
    """float32, shape (steps, words), 0 to 1."""
    step_samples: int
    """From one score to the next: 1280 for openWakeWord's models at a hop of 80 ms."""
    first_end_sample: int
    """Where the first step ends."""
    length_samples: int
    """How much sound the item has, what fills no step at its end included."""
    clipped_samples: int = 0
    """How many samples mixing drove beyond the range of int16."""

    def end_samples(self) -> NDArray[np.int64]:
        """Where each step ends, shape (steps,)."""
        steps = np.arange(len(self.scores), dtype=np.int64)
        return self.first_end_sample + steps * self.step_samples

    def of(self, word: str) -> Scores:
        """Return the column of ``word``, shape (steps,)."""
        return self.scores[:, self.words.index(word)]


def build_track(
    words: tuple[str, ...], rows: list[list[float]], step: int, first_end: int, length: int
) -> ScoreTrack:
    """Return the track of scores that came row by row.

    Args:
        words: of the columns.
        rows: a row for each step; none, where the sound is shorter than a step.
        step: samples from one score to the next.
        first_end: where the first step ends.
        length: of the sound, in samples.
    """
    scores = np.array(rows, np.float32).reshape(len(rows), len(words))
    return ScoreTrack(words, scores, step, first_end, length)


class Engine(Protocol):
    """Scores sound. One object lives in each worker process and is used by one thread."""

    @property
    def words(self) -> tuple[str, ...]:
        """The wake words, in the order of the columns of its tracks."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Each word's default threshold."""

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """Score one item from a fresh start.

        Args:
            blocks: int16 at 16 kHz, any lengths. They are read one by one: an item may be a day.

        Raises:
            Unavailable: the sound is damaged; passed on from ``blocks``.
        """


class EngineRecipe(Protocol):
    """How to make an engine: small, hashable, picklable, sent to each worker.

    A worker that gets an equal recipe again goes on with the engine that it has.
    """

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def key(self) -> str:
        """SHA-256 over all that its scores depend on: model bytes, settings, code, versions."""

    def __hash__(self) -> int: ...

    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of each model file, by name."""

    def build(self) -> Engine:
        """Make it.

        Raises:
            EarmarkError: a model is refused, or a package is not installed.
        """
