"""The recipe of a training on this machine: its engines, texts, negatives and code."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.errors import ModelRefused
from listener.evaluate.engines.provenance import code_hash, digest_values, versions
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, Catalogue
from listener.train.negatives import Negatives
from listener.train.phrase import Phrase
from listener.train.plan import COUNTS, ClipCounts, Effort, Recipe, choose_left_out
from listener.train.texts import (
    LEAST_TESTED_COST,
    find_near_phrases,
    in_turn,
    make_sentences,
)
from listener.train.tuning_plan import TunedWord, TuningCounts, TuningRecipe
from listener.train.voices.engine import describe_engine
from listener.train.voices.registry import find_engines, require_engines
from listener.wakeword.manifest import KnownWord, Model

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


def build_tuning_recipe(
    name: str, training: Recipe, catalogue: Catalogue, counts: TuningCounts | None = None
) -> tuple[TuningRecipe, tuple[str, ...]]:
    """Return the recipe that tunes the first stage for a trained word, and notes for the person.

    The first stage that was tuned before is tuned again, else the shipped one. The tuned one knows
    no shipped word: what it loses of them when people say them was not measured.

    Args:
        name: the trained word.
        training: its recipe.
        catalogue: has the word and the first stage.
        counts: numbers of clips, in place of the usual ones.

    Raises:
        ModelRefused: the word or the first stage is missing or has changed.
    """
    is_tuned = ADDED_FIRST_STAGE in catalogue.names()
    start = catalogue.load(ADDED_FIRST_STAGE if is_tuned else FIRST_STAGE)
    if start.manifest.kind != "first-stage":
        raise ModelRefused(
            f"{start.name} is a model of the kind {start.manifest.kind}, not a first stage",
            f"remove {catalogue.added / start.name}",
        )
    shipped = catalogue.manifest(FIRST_STAGE).words
    words = []
    notes = []
    for known_name, known in start.manifest.words.items():
        if known_name == name or known_name in shipped:
            continue
        try:
            words.append(_describe_known(catalogue, start, known_name, known))
        except ModelRefused as error:
            notes.append(f"the tuned first stage will not know {known_name}: {error}")
    word = catalogue.load(name)
    opinion = catalogue.second_sha256(word)
    spoken = (training.phrase.spoken,)
    words.append(TunedWord(name, word.manifest.sha256, spoken, None, opinion))
    recipe = TuningRecipe(
        training,
        start.name,
        start.manifest.sha256,
        tuple(words),
        counts or TuningCounts(),
    )
    return recipe, tuple(notes)


def _describe_known(catalogue: Catalogue, start: Model, name: str, known: KnownWord) -> TunedWord:
    """Return a word that a first stage knows, if what a tuning loses of it can be measured.

    Raises:
        ModelRefused: it cannot.
    """
    word = catalogue.load(name)
    catalogue.second_opinions([word])
    if not start.manifest.knows(word):
        raise ModelRefused(f"its model has changed since {start.name} was trained for it")
    if not known.spoken:
        raise ModelRefused("it is not known how voices say it")
    opinion = catalogue.second_sha256(word)
    return TunedWord(name, known.sha256, known.spoken, known.bound, opinion)


def _code(catalogue: Catalogue) -> str:
    models = [
        file.sha256
        for name in ("embedding", "embedding-long")
        for file in catalogue.manifest(name).files
    ]
    return digest_values(code_hash(CODE), *models, *sorted(versions().items()))
