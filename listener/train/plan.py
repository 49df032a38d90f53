"""The plan of a training: its recipe, and the batches that follow from it. Pure.

A recipe determines the bytes of the model on one machine: texts, engines with their versions,
counts, seed, negatives and code. Its digest names the folder in which batches are stored.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from listener.train.batches import BATCH_CLIPS, BatchKind, BatchTask
from listener.train.clips import ClipKind, plan_clips
from listener.train.phrase import Phrase
from listener.train.voices.engine import EngineRecord

Quality = Literal["fast", "best"]

LEFT_OUT_FIRST: Final = ("piper", "flite", "festival", "rhvoice")
"""Order in which engines are left out of training: a natural voice whose loss costs little."""

_CLIP_S: Final[Mapping[str, float]] = {"kokoro": 0.6, "festival": 0.35, "rhvoice": 0.2}
"""Estimated seconds of one core to speak a clip, for the time left; others take `_OTHER_CLIP_S`."""
_OTHER_CLIP_S: Final = 0.08
_COPY_S: Final = 0.045
"""Estimated seconds of one core to place and embed one copy of a clip."""


@dataclass(frozen=True, slots=True)
class Counts:
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


COUNTS: Final[Mapping[Quality, Counts]] = {
    "fast": Counts(1200, 3, 600, 2, 240, 40, 200, 120, 800),
    "best": Counts(1600, 3, 900, 2, 300, 40, 200, 120, 1000),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that determines a model."""

    phrase: Phrase
    quality: Quality
    seed: int
    engines: tuple[EngineRecord, ...]
    """Those that train."""
    left_out: EngineRecord | None
    """The one that tests; None if there is only one."""
    counts: Counts
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
    """Return the engine that is left out of training to test it; None if there is only one."""
    if len(engines) < 2:  # noqa: PLR2004 - one trains and one tests
        return None
    by_name = {engine.name: engine for engine in engines}
    return next((by_name[name] for name in LEFT_OUT_FIRST if name in by_name), engines[-1])


def plan_talk(recipe: Recipe, home: Path) -> tuple[BatchTask, ...]:
    """Return the batches of the kind ``talk``, which the others need."""
    names = [engine.name for engine in recipe.engines]
    return _batches(
        recipe, home, "talk", "sentence", "talk", recipe.sentences[::-1], names, recipe.counts.talk
    )


def plan_batches(recipe: Recipe, home: Path, talk: Sequence[Path]) -> tuple[BatchTask, ...]:
    """Return all other batches, the longest first.

    Args:
        recipe: the recipe.
        home: data directory, which has neural voices.
        talk: files of the batches of ``plan_talk``.
    """
    counts, talk = recipe.counts, tuple(talk)
    names = [engine.name for engine in recipe.engines]
    spoken = (recipe.phrase.spoken,)
    tasks = [
        *_batches(
            *(recipe, home, "word", "word", "train", spoken, names, counts.words),
            copies=counts.copies,
            talk=talk,
        ),
        *_batches(
            *(recipe, home, "near", "near", "train", recipe.near, names, counts.near),
            copies=counts.near_copies,
            talk=talk,
        ),
        *_batches(
            *(recipe, home, "sentence", "sentence", "train", recipe.sentences, names),
            counts.sentences,
            talk=talk,
        ),
    ]
    if recipe.left_out is not None:
        tester = [recipe.left_out.name]
        words, near = counts.test_words, counts.test_near
        tasks += _batches(recipe, home, "quiet", "word", "quiet", spoken, tester, words)
        tasks += _batches(recipe, home, "rooms", "word", "rooms", spoken, tester, words, talk=talk)
        tasks += _batches(recipe, home, "test-near", "near", "quiet", recipe.near, tester, near)
    return tuple(tasks)


def estimate_s(task: BatchTask) -> float:
    """Return the estimated seconds of one core that a batch takes."""
    speaking = sum(_CLIP_S.get(request.engine, _OTHER_CLIP_S) for request in task.requests)
    return 1.0 + speaking + _COPY_S * len(task.requests) * task.copies


def _batches(
    recipe: Recipe,
    home: Path,
    name: str,
    kind: ClipKind,
    batch_kind: BatchKind,
    texts: Sequence[str],
    engines: Sequence[str],
    count: int,
    *,
    copies: int = 1,
    talk: tuple[Path, ...] = (),
) -> tuple[BatchTask, ...]:
    requests = plan_clips(kind, texts, engines, count) if texts else ()
    return tuple(
        BatchTask(
            f"{name}-{first // BATCH_CLIPS:03}",
            batch_kind,
            requests[first : first + BATCH_CLIPS],
            # Talk must not be what is trained as sentences.
            recipe.seed + (batch_kind == "talk"),
            copies,
            home,
            talk,
        )
        for first in range(0, len(requests), BATCH_CLIPS)
    )
