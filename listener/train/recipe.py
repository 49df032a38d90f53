"""The recipe of a training on this machine: its engines, texts, negatives and code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from listener.evaluate.engines.provenance import code_hash, digest_values, versions
from listener.inference.catalogue import Catalogue
from listener.train.negatives import Negatives
from listener.train.phrase import Phrase
from listener.train.plan import COUNTS, Counts, Quality, Recipe, choose_left_out
from listener.train.voices.engine import describe_engine
from listener.train.voices.registry import find_engines, require_engines

CODE: Final = (
    *("audio", "inference", "storage/recordings.py", "train", "wakeword"),
    *("evaluate/confusables", "evaluate/corpus", "evaluate/metrics"),
)
"""Code that a model depends on."""


def build_recipe(
    phrase: Phrase,
    quality: Quality,
    seed: int,
    negatives: Negatives,
    home: Path,
    counts: Counts | None = None,
) -> tuple[Recipe, tuple[str, ...]]:
    """Return the recipe of a word on this machine, and notes for the person.

    Args:
        phrase: the wake word.
        quality: which engines are used.
        seed: seed of everything random.
        negatives: real recordings without the word.
        home: data directory, which has neural voices.
        counts: numbers of clips, in place of those of the quality.

    Raises:
        Unavailable: no voice engine is installed.
        ConfigError: the dictionary is not installed.
        ModelRefused: the embedding network is missing.
    """
    engines, missing = find_engines(home, quality)
    require_engines(engines, missing)
    records = tuple(describe_engine(engine) for engine in engines)
    left_out = choose_left_out(records)
    notes = [f"{each.name} is not used: {each.reason}; {each.hint}" for each in missing]
    if left_out is None:
        notes.append("there is one voice engine: misses cannot be measured on another")
    recipe = Recipe(
        phrase,
        quality,
        seed,
        tuple(record for record in records if record != left_out),
        left_out,
        counts or COUNTS[quality],
        near_phrases(phrase),
        sentences(phrase),
        negatives.sha256,
        _code(Catalogue(home)),
    )
    return recipe, tuple(notes)


def _code(catalogue: Catalogue) -> str:
    models: Sequence[str] = [
        file.sha256
        for name in ("embedding", "embedding-long")
        for file in catalogue.manifest(name).files
    ]
    return digest_values(code_hash(CODE), *models, *sorted(versions().items()))
