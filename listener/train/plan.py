"""The plan of a training: its recipe, and the batches that follow from it. Pure.

A recipe determines the bytes of the model on one machine: texts, engines with their versions,
counts, seed, negatives and code. Its digest names the folder in which batches are stored.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import msgspec

from listener.train.batches import BATCH_CLIPS, BatchKind, BatchTask
from listener.train.clips import ClipKind, plan_clips
from listener.train.phrase import Phrase
from listener.train.voices.engine import EngineRecord
from listener.train.voices.registry import Quality

LEFT_OUT_FIRST: Final = ("piper", "festival", "rhvoice", "flite")
"""Order in which an engine is chosen for the test: natural voices first."""

_CLIP_S: Final[Mapping[str, float]] = {"kokoro": 0.5, "festival": 0.3, "rhvoice": 0.15}
"""Estimated seconds of one core to speak a clip, for the time left; others take `_OTHER_CLIP_S`."""
_OTHER_CLIP_S: Final = 0.03
_COPY_S: Final = 0.018
"""Estimated seconds of one core to place and embed one copy of a clip."""


@dataclass(frozen=True, slots=True)
class ClipCounts:
    """Numbers of clips; a test clip is one of the engine left out."""

    words: int
    copies: int
    near: int
    near_copies: int
    sentences: int
    talk: int
    test_words: int
    test_near: int
    steps: int
    """Batches of each head's training."""


COUNTS: Final[Mapping[Quality, ClipCounts]] = {
    "fast": ClipCounts(1200, 3, 600, 2, 240, 40, 100, 60, 800),
    "best": ClipCounts(1500, 3, 750, 2, 300, 40, 100, 60, 800),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that determines a model."""

    phrase: Phrase
    quality: Quality
    seed: int
    engines: tuple[EngineRecord, ...]
    """All that train the model."""
    left_out: EngineRecord | None
    """The one of them that the heads of the test are trained without; None if it is the only one.
    """
    counts: ClipCounts
    near: tuple[str, ...]
    """Phrases that sound like the word."""
    sentences: tuple[str, ...]
    negatives: str
    """SHA-256 of the negatives."""
    code: str
    """SHA-256 of the code, models and packages that compute."""

    def digest(self) -> str:
        """Return the SHA-256 of the recipe, in hexadecimal."""
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()


def choose_left_out(engines: Sequence[EngineRecord]) -> EngineRecord | None:
    """Return the engine that the heads of the test do not get; None if there is only one."""
    if len(engines) < 2:  # noqa: PLR2004 - one trains and one tests
        return None
    by_name = {engine.name: engine for engine in engines}
    return next((by_name[name] for name in LEFT_OUT_FIRST if name in by_name), engines[-1])


def plan_talk(recipe: Recipe, home: Path) -> tuple[BatchTask, ...]:
    """Return the batches of the kind ``talk``, which the others need."""
    part = _ClipPart("talk", "sentence", "talk", recipe.sentences[::-1], recipe.counts.talk)
    # Another seed: talk must not be what is trained as sentences.
    return _batches(part, _names(recipe.engines), recipe.seed + 1, home, ())


def plan_batches(recipe: Recipe, home: Path, talk: Sequence[Path]) -> tuple[BatchTask, ...]:
    """Return all other batches.

    Args:
        recipe: the recipe.
        home: data directory, which has neural voices.
        talk: files of the batches of ``plan_talk``.
    """
    counts, spoken = recipe.counts, (recipe.phrase.spoken,)
    trained = (
        _ClipPart("word", "word", "train", spoken, counts.words, counts.copies),
        _ClipPart("near", "near", "train", recipe.near, counts.near, counts.near_copies),
        _ClipPart("sentence", "sentence", "train", recipe.sentences, counts.sentences),
    )
    tested = (
        _ClipPart("quiet", "word", "quiet", spoken, counts.test_words),
        _ClipPart("rooms", "word", "rooms", spoken, counts.test_words),
        _ClipPart("test-near", "near", "quiet", recipe.near, counts.test_near),
    )
    parts = [(part, _names(recipe.engines)) for part in trained]
    if recipe.left_out is not None:
        parts += [(part, _names([recipe.left_out])) for part in tested]
    return tuple(
        task
        for part, names in parts
        for task in _batches(part, names, recipe.seed, home, tuple(talk))
    )


def estimate_s(task: BatchTask) -> float:
    """Return the estimated seconds of one core that a batch takes."""
    speaking = sum(_CLIP_S.get(request.engine, _OTHER_CLIP_S) for request in task.requests)
    return 0.2 + speaking + _COPY_S * len(task.requests) * task.copies


@dataclass(frozen=True, slots=True)
class _ClipPart:
    """Clips of one purpose."""

    name: str
    kind: ClipKind
    batch_kind: BatchKind
    texts: tuple[str, ...]
    count: int
    copies: int = 1


def _names(engines: Sequence[EngineRecord]) -> list[str]:
    return [engine.name for engine in engines]


def _batches(
    part: _ClipPart, engines: Sequence[str], seed: int, home: Path, talk: tuple[Path, ...]
) -> tuple[BatchTask, ...]:
    requests = plan_clips(part.kind, part.texts, engines, part.count) if part.texts else ()
    return tuple(
        BatchTask(
            f"{part.name}-{first // BATCH_CLIPS:03}",
            part.batch_kind,
            requests[first : first + BATCH_CLIPS],
            seed,
            part.copies,
            home,
            talk,
        )
        for first in range(0, len(requests), BATCH_CLIPS)
    )
