"""The plan of a training of a student head: its recipe, and the parts that follow from it. Pure.

As for a trained word, the recipe determines the bytes, and its digest names the folder of a
training that has not ended.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.train.batches import BatchTask
from listener.train.plan import ClipPart, Recipe, estimate_s, plan_part
from listener.train.student_head import BATCHES

Form = Literal["talk", "word", "other", "test"]
"""What a part keeps of its clips. ``talk``: sentences, which surround the others; ``word`` and
``other``: mel frames and embeddings that train, with the word and without it; ``test``: each clip
in a quiet room and in rooms and noise."""

_TRAIN_SEED: Final = 2
_TEST_SEED: Final = 4
"""Added to the seed: clips that train and that test are others than those of the heads."""
_TEST_COPY_S: Final = 0.01
"""Estimated seconds of one core to place a clip once more and to score it."""


@dataclass(frozen=True, slots=True)
class StudentHeadCounts:
    """Numbers of clips by all engines together, and of batches."""

    words: int = 240
    word_copies: int = 3
    near: int = 120
    """Clips of phrases that sound like the word."""
    sentences: int = 80
    talk: int = 40
    test_words: int = 120
    """Clips of the word that train nothing; each is played in a quiet room and in noise."""
    batches: int = BATCHES


@dataclass(frozen=True, slots=True)
class StudentHeadRecipe:
    """All that determines a student head."""

    training: Recipe
    """The recipe of the word: phrase, engines, seed, sentences and code."""
    name: str
    """Name of the word."""
    sha256: str
    """SHA-256 of its own head."""
    second_opinion: str | None
    """SHA-256 of its second network, if it has one."""
    student: str
    """SHA-256 of the student."""
    counts: StudentHeadCounts

    @property
    def engine_names(self) -> list[str]:
        """Names of the voice engines."""
        return [engine.name for engine in self.training.engines]

    def digest(self) -> str:
        """Return the SHA-256 of the recipe, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()


@dataclass(frozen=True, slots=True)
class ClipTask:
    """A part of the clips; picklable, so that any process can make it."""

    batch: BatchTask
    form: Form

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.batch.name

    @property
    def estimated_s(self) -> float:
        """Estimated seconds of one core."""
        return estimate_s(self.batch) + _TEST_COPY_S * len(self.batch.requests)


def plan_student_talk(recipe: StudentHeadRecipe, home: Path) -> tuple[ClipTask, ...]:
    """Return the parts of the form ``talk``, which the others need."""
    training = recipe.training
    part = ClipPart("talk", "sentence", "talk", training.sentences[::-1], recipe.counts.talk)
    batches = plan_part(part, recipe.engine_names, training.seed + 1, home, ())
    return tuple(ClipTask(batch, "talk") for batch in batches)


def plan_student_clips(
    recipe: StudentHeadRecipe, home: Path, talk: Sequence[Path]
) -> tuple[ClipTask, ...]:
    """Return all other parts with clips.

    Args:
        recipe: the recipe.
        home: data directory, which has neural voices.
        talk: files of the parts of ``plan_student_talk``.
    """
    counts, training = recipe.counts, recipe.training
    spoken = (training.phrase.spoken,)
    parts: tuple[tuple[ClipPart, Form, int], ...] = (
        (
            ClipPart("word", "word", "train", spoken, counts.words, counts.word_copies),
            "word",
            _TRAIN_SEED,
        ),
        (ClipPart("near", "near", "train", training.near, counts.near), "other", _TRAIN_SEED),
        (
            ClipPart("sentence", "sentence", "train", training.sentences, counts.sentences),
            "other",
            _TRAIN_SEED,
        ),
        (ClipPart("test", "word", "train", spoken, counts.test_words), "test", _TEST_SEED),
    )
    return tuple(
        ClipTask(batch, form)
        for part, form, seed in parts
        for batch in plan_part(part, recipe.engine_names, training.seed + seed, home, tuple(talk))
    )
