"""The recipe of a training on this machine: its engines, texts, negatives and code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.evaluate.engines.provenance import code_hash, digest_values, versions
from listener.inference.catalogue import FIRST_STAGE, Catalogue
from listener.train.negatives import Negatives
from listener.train.phrase import Phrase
from listener.train.plan import COUNTS, ClipCounts, Effort, Recipe, choose_left_out
from listener.train.student_head_plan import StudentHeadCounts, StudentHeadRecipe
from listener.train.texts import (
    LEAST_TESTED_COST,
    find_near_phrases,
    in_turn,
    make_sentences,
)
from listener.train.voices.engine import describe_engine
from listener.train.voices.registry import find_engines, require_engines

CODE: Final = (
    *("audio", "inference", "storage/recordings.py", "train", "wakeword"),
    *("evaluate/confusables", "evaluate/corpus", "evaluate/metrics"),
)
"""Code that a model depends on."""


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What a person asks for."""

    phrase: Phrase
    effort: Effort
    """How many clips are made."""
    seed: int
    """Seed of everything random."""
    counts: ClipCounts | None = None
    """Numbers of clips, in place of those of the effort."""


def build_recipe(
    request: TrainingRequest, negatives: Negatives, home: Path
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe of a word on this machine, and notes for the person.

    Args:
        request: what is asked for.
        negatives: real recordings without the word.
        home: data directory, which has neural voices.

    Raises:
        Unavailable: no voice engine is installed.
        ConfigError: the dictionary is not installed.
        ModelRefused: the embedding network is missing.
    """
    phrase, effort = request.phrase, request.effort
    engines, missing = find_engines(home)
    require_engines(engines, missing)
    records = tuple(describe_engine(engine) for engine in engines)
    left_out = choose_left_out(records)
    notes = [f"{each.name} is not used: {each.reason}; {each.hint}" for each in missing]
    if left_out is None:
        notes.append("there is one voice engine: misses cannot be measured on another")
    near = find_near_phrases(phrase)
    recipe = Recipe(
        phrase,
        effort,
        request.seed,
        records,
        left_out,
        request.counts or COUNTS[effort],
        near,
        tuple(dict.fromkeys(in_turn(find_near_phrases(phrase, least=LEAST_TESTED_COST), near))),
        make_sentences(phrase),
        negatives.sha256,
        _code(Catalogue(home)),
    )
    return recipe, tuple(notes)


def build_student_head_recipe(
    name: str, training: Recipe, catalogue: Catalogue, counts: StudentHeadCounts | None = None
) -> StudentHeadRecipe:
    """Return the recipe of the student head of a trained word.

    Args:
        name: the trained word.
        training: its recipe.
        catalogue: has the word and the student.
        counts: numbers of clips, in place of the usual ones.

    Raises:
        ModelRefused: the word is missing, or the manifest of a model is not valid.
    """
    word = catalogue.load(name)
    return StudentHeadRecipe(
        training,
        name,
        word.manifest.sha256,
        catalogue.second_sha256(word),
        catalogue.manifest(FIRST_STAGE).sha256,
        counts or StudentHeadCounts(),
    )


def _code(catalogue: Catalogue) -> str:
    models = [
        file.sha256
        for name in ("embedding", "embedding-long")
        for file in catalogue.manifest(name).files
    ]
    return digest_values(code_hash(CODE), *models, *sorted(versions().items()))
