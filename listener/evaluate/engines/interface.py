"""Interface of engines: a recipe builds an engine, which turns audio into a track of scores."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import Samples

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoreTrack:
    """Scores of every step over one play of one item.

    Positions are samples at 16 kHz from the start of the item, at any phase of the play.
    """

    words: tuple[str, ...]
    """Names of the models, in the order of the columns."""
    scores: Scores
    """float32, shape (steps, words), 0 to 1."""
    step_samples: int
    """Distance between scores: 1280 for openWakeWord's models at a hop of 80 ms."""
    first_end_sample: int
    """End of the first step."""
    length_samples: int
    """Length of the item, including a remainder that does not fill a step."""
    clipped_samples: int = 0
    """Samples that exceeded the range of int16 after mixing."""

    def end_samples(self) -> NDArray[np.int64]:
        """Return the end of each step in samples, int64, shape (steps,)."""
        steps = np.arange(len(self.scores), dtype=np.int64)
        return self.first_end_sample + steps * self.step_samples

    def of(self, word: str) -> Scores:
        """Return the scores of ``word``, float32, shape (steps,)."""
        return self.scores[:, self.words.index(word)]


def build_track(
    words: tuple[str, ...], rows: list[list[float]], step: int, first_end: int, length: int
) -> ScoreTrack:
    """Return the track of a list of rows.

    Args:
        words: names of the columns.
        rows: scores of each step; empty if the audio is shorter than a step.
        step: samples from one score to the next.
        first_end: end of the first step, in samples.
        length: length of the audio, in samples.
    """
    scores = np.array(rows, np.float32).reshape(len(rows), len(words))
    return ScoreTrack(words, scores, step, first_end, length)


class Engine(Protocol):
    """Scores audio. Each worker process has its own and uses it from one thread."""

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the wake words, in the order of the columns of its tracks."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Default threshold of each word, 0 to 1."""

    @property
    def patience_frames(self) -> Mapping[str, int]:
        """Default number of frames in a row at or above the threshold; 1 for absent words."""

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """Score one item from a fresh start.

        Args:
            blocks: int16 at 16 kHz, any lengths; read one by one, as an item may be a day long.

        Raises:
            Unavailable: the audio is damaged; raised by ``blocks``.
        """


class EngineRecipe(Protocol):
    """Description from which a worker builds an engine: small, hashable, picklable.

    A worker builds an engine once and reuses it for equal recipes.
    """

    @property
    def name(self) -> str:
        """Name of the engine in the results."""

    @property
    def key(self) -> str:
        """SHA-256 over everything that scores depend on: models, settings, code, versions."""

    def __hash__(self) -> int: ...

    def hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of each model file, by name."""

    def build(self) -> Engine:
        """Build the engine.

        Raises:
            EarmarkError: a model is refused, or a package is not installed.
        """
