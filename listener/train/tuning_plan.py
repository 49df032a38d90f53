"""The plan of a tuning of the first stage: its recipe, and the parts that follow from it. Pure.

As for a trained word, the recipe determines the bytes, and its digest names the folder of a tuning
that has not ended.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.train.batches import BatchTask
from listener.train.plan import ClipPart, Recipe, estimate_s, plan_part

Form = Literal["talk", "stream", "sound", "test"]
"""What a part keeps of its clips. ``talk``: sentences, which surround the others; ``stream``: mel
frames and embeddings that tune; ``sound``: stretches in rooms and noise, which fix bounds;
``test``: each clip in a quiet room and in rooms and noise."""

_TUNING_SEED: Final = 2
_BOUND_SEED: Final = 3
_TEST_SEED: Final = 4
"""Added to the seed: clips that tune, fix bounds and test are others than those of the heads."""
_TEST_COPY_S: Final = 0.01
"""Estimated seconds of one core to place a clip once more and to score it."""


@dataclass(frozen=True, slots=True)
class TuningCounts:
    """Numbers of clips by all engines together, and of batches."""

    words: int = 60
    """Clips of the new word."""
    word_copies: int = 3
    known: int = 30
    """Clips of each word that the student knows, so that it does not forget it."""
    known_copies: int = 2
    sentences: int = 80
    """Sentences that tune, and as many others that fix bounds."""
    talk: int = 40
    test_words: int = 120
    """Clips of the new word that tune nothing; each is played in a quiet room and in noise."""
    test_known: int = 60
    """The same for each word that the student knows."""
    batches: int = 600


@dataclass(frozen=True, slots=True)
class TunedWord:
    """A word that the first stage is to know."""

    name: str
    sha256: str
    """SHA-256 of its head."""
    spoken: tuple[str, ...]
    """What the voices say for it."""
    bound: float | None
    """Its bound in the first stage that is tuned; None for the new word."""
    second_opinion: str | None
    """SHA-256 of its second network, if it has one."""


@dataclass(frozen=True, slots=True)
class TuningRecipe:
    """All that determines a tuned first stage."""

    training: Recipe
    """The recipe of the new word: phrase, engines, seed, sentences and code."""
    start: str
    """Name of the first stage that is tuned."""
    weights: str
    """SHA-256 of its student."""
    words: tuple[TunedWord, ...]
    """Words that it knows and can be measured; the new word is the last one."""
    counts: TuningCounts

    @property
    def new(self) -> TunedWord:
        """The new word."""
        return self.words[-1]

    @property
    def engine_names(self) -> list[str]:
        """Names of the voice engines."""
        return [engine.name for engine in self.training.engines]

    def digest(self) -> str:
        """Return the SHA-256 of the recipe, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class TuningTask:
    """A part of the clips; picklable, so that any process can make it."""

    batch: BatchTask
    form: Form
    subject: str
    """The word that a test speaks; empty for other parts."""

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.batch.name

    @property
    def estimated_s(self) -> float:
        """Estimated seconds of one core."""
        return estimate_s(self.batch) + _TEST_COPY_S * len(self.batch.requests)


def plan_talk(recipe: TuningRecipe, home: Path) -> tuple[TuningTask, ...]:
    """Return the parts of the form ``talk``, which the others need."""
    training = recipe.training
    sentences = training.sentences[::-1]
    part = ClipPart("talk", "sentence", "talk", sentences, recipe.counts.talk)
    batches = plan_part(part, recipe.engine_names, training.seed + 1, home, ())
    return tuple(TuningTask(batch, "talk", "") for batch in batches)


def plan_tuning(recipe: TuningRecipe, home: Path, talk: Sequence[Path]) -> tuple[TuningTask, ...]:
    """Return all other parts with clips.

    Args:
        recipe: the recipe.
        home: data directory, which has neural voices.
        talk: files of the parts of ``plan_talk``.
    """
    counts, sentences = recipe.counts, recipe.training.sentences
    half = len(sentences) // 2
    tasks: list[TuningTask] = []

    def add(part: ClipPart, form: Form, subject: str, seed: int) -> None:
        seed += recipe.training.seed
        batches = plan_part(part, recipe.engine_names, seed, home, tuple(talk))
        tasks.extend(TuningTask(batch, form, subject) for batch in batches)

    new, known = recipe.new, recipe.words[:-1]
    tune = ClipPart("tune-new", "word", "train", new.spoken, counts.words, counts.word_copies)
    add(tune, "stream", "", _TUNING_SEED)
    # In each turn, every word once.
    turns = range(max((len(word.spoken) for word in known), default=0))
    texts = tuple(word.spoken[turn % len(word.spoken)] for turn in turns for word in known)
    count = counts.known * len(known)
    tune = ClipPart("tune-known", "word", "train", texts, count, counts.known_copies)
    add(tune, "stream", "", _TUNING_SEED)
    for word in recipe.words:
        tested = counts.test_words if word == new else counts.test_known
        test = ClipPart(f"test-{word.name}", "word", "train", word.spoken, tested)
        add(test, "test", word.name, _TEST_SEED)
    # Other texts and another seed, so that no sentence that tunes fixes a bound.
    tune = ClipPart("tune-sentence", "sentence", "train", sentences[:half], counts.sentences)
    add(tune, "stream", "", _TUNING_SEED)
    bound = ClipPart("bound-sentence", "sentence", "train", sentences[half:], counts.sentences)
    add(bound, "sound", "", _BOUND_SEED)
    return tuple(tasks)
