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

Effort = Literal["fast", "best"]
"""How many clips are made. All voice engines of the machine speak for both: the programs alone are
too few voices."""

LEFT_OUT_FIRST: Final = ("piper", "festival", "rhvoice", "flite")
"""Order in which an engine is chosen for the test: natural voices first."""

_CLIP_S: Final[Mapping[str, float]] = {"kokoro": 0.5, "festival": 0.1, "rhvoice": 0.15}
"""Estimated seconds of one core to speak a clip, for the time left; others take `_OTHER_CLIP_S`."""
_OTHER_CLIP_S: Final = 0.03
_OPEN_S: Final[Mapping[str, float]] = {"kokoro": 0.8, "piper": 1.5}
"""Estimated seconds of one core to open an engine; others take 0.1."""
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
    candidates: int
    """Heads that are trained, of which `heads.AVERAGED` are chosen; at least as many."""
    test_candidates: int
    """The same without the engine left out."""


COUNTS: Final[Mapping[Effort, ClipCounts]] = {
    "fast": ClipCounts(480, 3, 240, 2, 60, 40, 100, 60, 600, 18, 6),
    "best": ClipCounts(900, 3, 450, 2, 150, 40, 100, 60, 600, 18, 6),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that determines a model."""

    phrase: Phrase
    effort: Effort
    seed: int
    engines: tuple[EngineRecord, ...]
    """All that train the model."""
    left_out: EngineRecord | None
    """The one of them that the heads of the test are trained without; None if it is the only one.
    """
    counts: ClipCounts
    near: tuple[str, ...]
    """Phrases that sound like the word, which train against it."""
    near_tested: tuple[str, ...]
    """Phrases of the test: some of these, and some that sound more like the word."""
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
    part = ClipPart("talk", "sentence", "talk", recipe.sentences[::-1], recipe.counts.talk)
    # Another seed: talk must not be what is trained as sentences.
    return plan_part(part, _names(recipe.engines), recipe.seed + 1, home, ())


def plan_batches(recipe: Recipe, home: Path, talk: Sequence[Path]) -> tuple[BatchTask, ...]:
    """Return all other batches.

    Args:
        recipe: the recipe.
        home: data directory, which has neural voices.
        talk: files of the batches of ``plan_talk``.
    """
    counts, spoken = recipe.counts, (recipe.phrase.spoken,)
    trained = (
        ClipPart("word", "word", "train", spoken, counts.words, counts.copies),
        ClipPart("near", "near", "train", recipe.near, counts.near, counts.near_copies),
        ClipPart("sentence", "sentence", "train", recipe.sentences, counts.sentences),
    )
    tested = (
        ClipPart("quiet", "word", "quiet", spoken, counts.test_words),
        ClipPart("rooms", "word", "rooms", spoken, counts.test_words),
        ClipPart("test-near", "near", "quiet", recipe.near_tested, counts.test_near),
    )
    parts = [(part, _names(recipe.engines)) for part in trained]
    if recipe.left_out is not None:
        parts += [(part, _names([recipe.left_out])) for part in tested]
    return tuple(
        task
        for part, names in parts
        for task in plan_part(part, names, recipe.seed, home, tuple(talk))
    )


def estimate_s(task: BatchTask) -> float:
    """Return the estimated seconds of one core that a batch takes."""
    speaking = sum(_CLIP_S.get(request.engine, _OTHER_CLIP_S) for request in task.requests)
    opening = max(_OPEN_S.get(request.engine, 0.1) for request in task.requests)
    return opening + speaking + _COPY_S * len(task.requests) * task.copies


@dataclass(frozen=True, slots=True)
class ClipPart:
    """Clips of one purpose."""

    name: str
    """Beginning of the names of its batches."""
    kind: ClipKind
    batch_kind: BatchKind
    texts: tuple[str, ...]
    count: int
    """Clips by all engines together."""
    copies: int = 1


def _names(engines: Sequence[EngineRecord]) -> list[str]:
    return [engine.name for engine in engines]


def plan_part(
    part: ClipPart, engines: Sequence[str], seed: int, home: Path, talk: tuple[Path, ...]
) -> tuple[BatchTask, ...]:
    """Return batches of one engine each, which is opened once for each of them.

    Args:
        part: the clips.
        engines: names of the engines.
        seed: seed of the clips and of their surroundings.
        home: data directory, which has neural voices.
        talk: files of the batches of ``plan_talk``; empty for those themselves.
    """
    tasks = []
    for number, engine in enumerate(engines):
        texts = _texts_of(part.texts, number, len(engines))
        count = len(range(number, part.count, len(engines)))
        requests = plan_clips(part.kind, texts, (engine,), count) if texts else ()
        tasks += [
            BatchTask(
                part.name,
                f"{part.name}-{engine}-{first // BATCH_CLIPS:03}",
                part.batch_kind,
                requests[first : first + BATCH_CLIPS],
                seed,
                part.copies,
                home,
                talk,
            )
            for first in range(0, len(requests), BATCH_CLIPS)
        ]
    return tuple(tasks)


def _texts_of(texts: Sequence[str], number: int, engines: int) -> list[str]:
    """Return the texts in the order of an engine; each begins with others, so that all occur."""
    return [text for turn in range(engines) for text in texts[(number + turn) % engines :: engines]]
