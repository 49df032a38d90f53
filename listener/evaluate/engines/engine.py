"""What gives scores, behind one Protocol: our own models, or another engine's."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from listener.audio.pcm import Samples
from listener.evaluate.engines.track import ScoreTrack


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
