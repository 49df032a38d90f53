"""What a run needs before its first item: corpora opened, engines built, noises and rooms found."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from listener.errors import EarmarkError, UsageError
from listener.evaluate.corpus.folders import sounds_in
from listener.evaluate.corpus.items import CombinedCorpus, Corpus
from listener.evaluate.corpus.layouts import open_corpus
from listener.evaluate.corpus.mixing import Condition
from listener.evaluate.corpus.playing import file_hash
from listener.evaluate.engines.engine import EngineRecipe
from listener.evaluate.plan import ConditionSettings, EngineSettings, EvaluationPlan
from listener.evaluate.rates.result import SkippedItem
from listener.evaluate.work import Job, get_engine
from listener.storage.recordings import open_recording


def open_all(plan: EvaluationPlan) -> Corpus:
    """Open every corpus of a plan as one.

    Raises:
        UsageError: there is none, or one of them is nothing of the kind.
    """
    if not plan.corpus:
        raise UsageError(
            "there is nothing to play", "name a folder or a manifest, or set EARMARK_RECORDINGS"
        )
    return CombinedCorpus(
        [open_corpus(Path(each.path), each.word) for each in plan.corpus], plan.only
    )


def prepare(
    plan: EvaluationPlan, recipe: Callable[[EngineSettings], EngineRecipe], cache: Path | None
) -> tuple[Job, list[SkippedItem]]:
    """Build every engine once, here, and look at every noise: what cannot be used is missing.

    Args:
        plan: what is to be evaluated.
        recipe: prepares an engine; raises EarmarkError where there is none.
        cache: where scores are kept.

    Raises:
        EarmarkError: no engine can be built, or a condition has no sound that can be used.
    """
    troubles: list[SkippedItem] = []
    recipes, settings = [], []
    failure: EarmarkError | None = None
    for each in plan.engine:
        try:
            made = recipe(each)
            defaults = get_engine(made).thresholds
        except EarmarkError as error:
            failure = error
            troubles.append(SkippedItem(item=each.name, why=str(error)))
            continue
        recipes.append(made)
        filled = {word: each.thresholds.get(word, defaults[word]) for word in defaults}
        settings.append(msgspec.structs.replace(each, thresholds=filled))
    if failure is not None and not recipes:
        raise failure
    hashes: dict[Path, str] = {}
    conditions = tuple(resolve_condition(each, hashes, troubles) for each in plan.condition)
    thresholds = tuple(
        {
            (condition.name, word): threshold
            for condition in conditions
            for word, threshold in each.thresholds.items()
        }
        for each in settings
    )
    job = Job(
        recipes=tuple(recipes),
        settings=tuple(settings),
        conditions=conditions,
        sound_hashes=hashes,
        thresholds=thresholds,
        plays=plan.plays,
        channel=plan.channel,
        seed=plan.seed,
        tail_s=plan.hit_tail_s,
        cache=cache,
    )
    return job, troubles


def resolve_condition(
    settings: ConditionSettings, hashes: dict[Path, str], troubles: list[SkippedItem]
) -> Condition:
    """Find the sounds of a condition.

    Args:
        settings: of the plan.
        hashes: takes the SHA-256 of each sound.
        troubles: takes what cannot be used.

    Raises:
        UsageError: none of them can be used.
    """
    found: list[tuple[Path, ...]] = []
    for folder in (settings.noise, settings.room):
        usable = []
        for path in sounds_in(Path(folder)) if folder is not None else ():
            try:
                with open_recording(path):
                    hashes[path] = file_hash(path)
            except EarmarkError as error:
                troubles.append(SkippedItem(item=str(path), why=str(error)))
            else:
                usable.append(path)
        if folder is not None and not usable:
            raise UsageError(f"no sound in {folder} can be used for {settings.name}")
        found.append(tuple(usable))
    noises, rooms = found
    return Condition(settings.name, settings.snr_db, noises, rooms, settings.speech_dbov)
