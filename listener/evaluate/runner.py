"""From a plan to its result: every item to every engine, in parallel, in constant memory.

Items are examined in any order and counted in that of the corpus, so the result is the same for
any number of workers.

What a run needs before its first item: corpora opened, engines built, noises and rooms found.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from listener.errors import EarmarkError, UsageError
from listener.evaluate.aggregate import Totals
from listener.evaluate.corpus.augmentation import Condition
from listener.evaluate.corpus.datasets import list_sounds, open_corpus
from listener.evaluate.corpus.items import CombinedCorpus, Corpus, InvalidItem, Item
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.interface import EngineRecipe
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.job import ItemReport, Job, examine_item, get_engine
from listener.evaluate.metrics.results import Comparison, Result, SkippedItem, Target, WordResult
from listener.evaluate.metrics.statistics import compare_engines, find_target
from listener.evaluate.plan import ConditionSettings, EngineSettings, EvaluationPlan, to_builtins
from listener.evaluate.report.text import list_cautions, list_definitions
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
        for path in list_sounds(Path(folder)) if folder is not None else ():
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


Key = tuple[int, int, str]
"""Engine, condition and word."""
Advance = Callable[[Item], None]


class Workers(Protocol):
    """Who examines items."""

    def map(
        self, function: Callable[[Item], ItemReport], items: Iterable[Item]
    ) -> Iterator[ItemReport]:
        """Apply ``function`` to each item; give the reports in the order of the items.

        Only so many items are taken at a time that memory does not grow with their number.
        """


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run of a plan."""

    plan: EvaluationPlan
    recipe: Callable[[EngineSettings], EngineRecipe]
    """Prepares an engine; raises EarmarkError where there is none."""
    workers: Workers
    cache: Path | None = None
    """Where scores are kept."""
    advance: Advance | None = None
    """Told of each item that is done."""

    def run(self) -> Result:
        """Evaluate.

        Raises:
            EarmarkError: the corpus cannot be read, or no engine can be built.
        """
        corpus = open_all(self.plan)
        job, unbuilt = prepare(self.plan, self.recipe, self.cache)
        totals, troubles, corpus_hash = self._pass(corpus, job)
        targets: dict[Key, Target] = {}
        if self.plan.target_false_wakes_per_hour is not None:
            targets = _targets(totals, self.plan)
            job = replace(job, thresholds=_retune(job, targets))
            totals, troubles, corpus_hash = self._pass(corpus, job)
        words = self._words(job, totals, targets)
        missing = sorted({*unbuilt, *troubles}, key=lambda trouble: (trouble.item, trouble.why))
        return Result(
            plan=to_builtins(self.plan),
            hashes=_hashes(self.plan, job, corpus_hash),
            versions=versions(),
            definitions=list_definitions(self.plan),
            warnings=list_cautions(words, missing),
            missing=tuple(missing),
            words=words,
            comparisons=_comparisons(job, totals),
        )

    def _pass(self, corpus: Corpus, job: Job) -> tuple[dict[Key, Totals], set[SkippedItem], str]:
        """Have every item examined once, and count."""
        troubles: set[SkippedItem] = set()
        totals: dict[Key, Totals] = {}
        digest = hashlib.sha256()

        def items() -> Iterator[Item]:
            for item in corpus:
                if isinstance(item, InvalidItem):
                    troubles.add(SkippedItem(item=item.name, why=item.why))
                else:
                    yield item

        for report in self.workers.map(functools.partial(examine_item, job), items()):
            item = report.item
            troubles |= {SkippedItem(item=item.name, why=fault) for fault in report.faults}
            if report.not_kept is not None:
                troubles.add(
                    SkippedItem(
                        item="score cache", why=f"it could not be written: {report.not_kept}"
                    )
                )
            said = [(label.word, label.start_s, label.end_s) for label in item.labels]
            digest.update(
                msgspec.json.encode(
                    (item.name, report.file_hash, item.start_s, item.length_s, said)
                )
            )
            for take in report.takes:
                for word in take.words:
                    key = take.engine, take.condition, word.word
                    if key not in totals:
                        totals[key] = Totals(self.plan.plays)
                    totals[key].add(item, take, word)
            if self.advance is not None:
                self.advance(item)
        return totals, troubles, digest.hexdigest()

    def _words(
        self, job: Job, totals: Mapping[Key, Totals], targets: Mapping[Key, Target]
    ) -> tuple[WordResult, ...]:
        found = []
        for key in sorted(totals):
            engine, condition, word = key
            settings, name = job.settings[engine], job.conditions[condition].name
            chosen = targets.get(key)
            given = self.plan.engine[self._number(settings)].thresholds
            found.append(
                totals[key].result(
                    engine=settings.name,
                    word=word,
                    spoken=settings.said.get(word, word),
                    condition=name,
                    threshold=job.thresholds[engine][name, word],
                    threshold_from="target"
                    if chosen and chosen.threshold is not None
                    else ("settings" if word in given else "manifest"),
                    target=chosen,
                    claimed=self.plan.claims_per_hour,
                    seed=self.plan.seed,
                )
            )
        return tuple(found)

    def _number(self, settings: EngineSettings) -> int:
        return [engine.name for engine in self.plan.engine].index(settings.name)


def _targets(totals: Mapping[Key, Totals], plan: EvaluationPlan) -> dict[Key, Target]:
    per_hour = plan.target_false_wakes_per_hour
    return {
        key: find_target(each.counts, each.plays, each.all.hours, per_hour)
        for key, each in totals.items()
        if per_hour is not None
    }


def _retune(job: Job, targets: Mapping[Key, Target]) -> tuple[dict[tuple[str, str], float], ...]:
    """Put the thresholds that were found in place of the others."""
    found = [dict(thresholds) for thresholds in job.thresholds]
    for (engine, condition, word), chosen in targets.items():
        if chosen.threshold is not None:
            found[engine][job.conditions[condition].name, word] = chosen.threshold
    return tuple(found)


def _comparisons(job: Job, totals: Mapping[Key, Totals]) -> tuple[Comparison, ...]:
    """Compare every two engines that listen for the same word, under each condition."""
    found = []
    keys = sorted(totals)
    for first in keys:
        for second in keys:
            one, other = job.settings[first[0]], job.settings[second[0]]
            said = one.said.get(first[2], first[2])
            if (
                first[0] < second[0]
                and first[1] == second[1]
                and (said == other.said.get(second[2], second[2]))
            ):
                found.append(
                    compare_engines(
                        said,
                        job.conditions[first[1]].name,
                        (one.name, other.name),
                        (totals[first].outcomes(), totals[second].outcomes()),
                        (totals[first].events, totals[second].events),
                        same_s=max(one.refractory_s, other.refractory_s),
                    )
                )
    return tuple(found)


def _hashes(plan: EvaluationPlan, job: Job, corpus_hash: str) -> dict[str, str]:
    settings = hashlib.sha256(msgspec.json.encode(to_builtins(plan))).hexdigest()
    found = {"settings": settings, "corpus": corpus_hash, "code": code_hash()}
    for recipe in job.recipes:
        found |= {f"model {name}": value for name, value in recipe.hashes().items()}
    found |= {f"sound {path.name}": value for path, value in job.sound_hashes.items()}
    return found
