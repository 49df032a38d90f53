"""Runner: evaluates a plan, every item with every engine, in parallel and constant memory.

Corpora, engines, noises and impulse responses are opened before the first item. Items are scored in
any order and counted in the order of the corpus, so the result is the same for any number of
workers.
"""

import fnmatch
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
from listener.evaluate.corpus.datasets import find_skipped, list_sounds, open_corpus
from listener.evaluate.corpus.deduplication import DeduplicatedCorpus
from listener.evaluate.corpus.items import CombinedCorpus, InvalidItem, Item
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.corpus.selection import WithoutText
from listener.evaluate.corpus.stream import RepeatingCorpus, StreamCorpus
from listener.evaluate.engines.interface import EngineRecipe
from listener.evaluate.engines.provenance import code_hash, versions
from listener.evaluate.job import ItemReport, Job, evaluate_item, get_engine
from listener.evaluate.metrics.results import Comparison, Result, SkippedItem, Target, WordResult
from listener.evaluate.metrics.statistics import compare_engines, find_target
from listener.evaluate.plan import ConditionSettings, EngineSettings, EvaluationPlan, to_builtins
from listener.evaluate.report.text import CORPUS_NOTE, list_cautions, list_definitions
from listener.storage.recordings import open_recording

Key = tuple[int, int, str]
"""Indices of engine and condition, and the word."""
Advance = Callable[[Item], None]


def open_all(plan: EvaluationPlan) -> RepeatingCorpus:
    """Open the corpora of a plan as one, or as streams; each stretch of audio occurs once.

    Raises:
        UsageError: there is none, or one does not exist.
    """
    if not plan.corpus:
        raise UsageError(
            "no corpus is given", "give a folder or a manifest, or set EARMARK_RECORDINGS"
        )
    corpora = []
    for each in plan.corpus:
        corpus = open_corpus(Path(each.path), each.word)
        corpora.append(corpus if each.without is None else WithoutText(corpus, each.without))
    words = {engine.said.get(word, word) for engine in plan.engine for word in engine.words}
    listed = DeduplicatedCorpus(CombinedCorpus(corpora, plan.only), words, plan.channel)
    if plan.stream:
        return StreamCorpus(listed, plan.channel, plan.seed, plan.stream_pause_s)
    return listed


def prepare(
    plan: EvaluationPlan, recipe: Callable[[EngineSettings], EngineRecipe], cache: Path | None
) -> tuple[Job, list[SkippedItem]]:
    """Build every engine once in this process, and check every noise and impulse response.

    Args:
        plan: the plan to evaluate.
        recipe: returns the recipe of an engine; raises EarmarkError if it is not available.
        cache: folder of the score cache; None: no cache.

    Returns:
        The job, and the engines and files that cannot be used.

    Raises:
        EarmarkError: no engine can be built, or a condition has no usable file.
    """
    skipped: list[SkippedItem] = []
    recipes, settings = [], []
    failure: EarmarkError | None = None
    for each in plan.engine:
        try:
            built = recipe(each)
            engine = get_engine(built)
            defaults = engine.thresholds
        except EarmarkError as error:
            failure = error
            skipped.append(SkippedItem(item=each.name, why=str(error)))
            continue
        recipes.append(built)
        filled = {word: each.thresholds.get(word, defaults[word]) for word in defaults}
        patience = dict(engine.patience_frames) | each.patience
        settings.append(msgspec.structs.replace(each, thresholds=filled, patience=patience))
    if failure is not None and not recipes:
        raise failure
    hashes: dict[Path, str] = {}
    conditions = tuple(resolve_condition(each, hashes, skipped) for each in plan.condition)
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
    return job, skipped


def resolve_condition(
    settings: ConditionSettings, hashes: dict[Path, str], skipped: list[SkippedItem]
) -> Condition:
    """Return the condition with its noises and impulse responses.

    Args:
        settings: the condition of the plan.
        hashes: the SHA-256 of each file is added here.
        skipped: files that cannot be used are added here.

    Raises:
        UsageError: a folder has no usable file.
    """
    files: list[tuple[Path, ...]] = []
    for folder, pattern in ((settings.noise, settings.noise_files), (settings.room, None)):
        usable = []
        for path in _matching(folder, pattern):
            try:
                with open_recording(path) as recording:
                    recording.check_whole()
                    hashes[path] = file_hash(path)
            except EarmarkError as error:
                skipped.append(SkippedItem(item=str(path), why=str(error)))
            else:
                usable.append(path)
        if folder is not None and not usable:
            raise UsageError(f"no audio file in {folder} can be used for {settings.name}")
        files.append(tuple(usable))
    noises, rooms = files
    return Condition(settings.name, settings.snr_db, noises, rooms, settings.speech_dbov)


def _matching(folder: str | None, pattern: str | None) -> Iterator[Path]:
    """Yield the audio files of a folder whose paths below it match a shell pattern."""
    if folder is None:
        return
    for path in list_sounds(Path(folder)):
        inner = path.relative_to(folder).as_posix() if path != Path(folder) else path.name
        if pattern is None or fnmatch.fnmatchcase(inner, pattern):
            yield path


class Workers(Protocol):
    """A pool of workers that evaluate items."""

    def map(
        self, function: Callable[[Item], ItemReport], items: Iterable[Item]
    ) -> Iterator[ItemReport]:
        """Apply ``function`` to each item; yield the reports in the order of the items.

        Items are taken in batches, so that memory does not grow with their number.
        """


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run of a plan."""

    plan: EvaluationPlan
    recipe: Callable[[EngineSettings], EngineRecipe]
    """Returns the recipe of an engine; raises EarmarkError if it is not available."""
    workers: Workers
    cache: Path | None = None
    """Folder of the score cache; None: no cache."""
    advance: Advance | None = None
    """Called after each item of each engine."""
    announce: Callable[[str], None] | None = None
    """Called with the name of each engine before its first item."""
    corpus: RepeatingCorpus | None = None
    """The plan's corpus, if it is open already."""

    def run(self) -> Result:
        """Evaluate the plan.

        Raises:
            EarmarkError: the corpus cannot be read, or no engine can be built.
        """
        corpus = self.corpus or open_all(self.plan)
        job, unbuilt = prepare(self.plan, self.recipe, self.cache)
        totals, skipped, corpus_hash = self._pass(corpus, job)
        targets: dict[Key, Target] = {}
        if self.plan.target_false_wakes_per_hour is not None:
            targets = _targets(totals, self.plan)
            job = replace(job, thresholds=_retune(job, targets))
            totals, skipped, corpus_hash = self._pass(corpus, job)
        words = self._words(job, totals, targets)
        missing = sorted({*unbuilt, *skipped}, key=lambda each: (each.item, each.why))
        return Result(
            plan=to_builtins(self.plan),
            hashes=_hashes(self.plan, job, corpus_hash),
            versions=versions(),
            definitions=list_definitions(self.plan),
            warnings=(*self._notes(corpus), *list_cautions(words, missing)),
            missing=tuple(missing),
            words=words,
            comparisons=_comparisons(job, totals),
        )

    def _notes(self, corpus: RepeatingCorpus) -> Iterator[str]:
        """Yield what is left out or counted differently than it is listed."""
        for note in corpus.notes():
            yield f"{CORPUS_NOTE}{note}"
        for settings in self.plan.condition:
            for folder in (settings.noise, settings.room):
                skipped = find_skipped(Path(folder)) if folder is not None else None
                if skipped is not None:
                    yield f"{CORPUS_NOTE}{settings.name}: {skipped}"

    def _pass(
        self, corpus: RepeatingCorpus, job: Job
    ) -> tuple[dict[Key, Totals], set[SkippedItem], str]:
        """Evaluate every item once; return totals, skipped items and the SHA-256 of the corpus.

        Engine by engine, because engines differ in speed by an order of magnitude: the progress of
        one is then even, and names it.
        """
        tally = _PassTotals(self.plan.plays)
        for engine, settings in enumerate(job.settings):
            if self.announce is not None:
                number = f" ({engine + 1} of {len(job.settings)})" if len(job.settings) > 1 else ""
                self.announce(f"{settings.name}{number}")
            evaluate = functools.partial(evaluate_item, job, engines=(engine,))
            for report in self.workers.map(evaluate, tally.valid_items(corpus)):
                tally.add(report, is_first_engine=not engine)
                if self.advance is not None:
                    self.advance(report.item)
        for name in corpus.repeated():
            tally.corpus.update(msgspec.json.encode(name))
        return tally.totals, tally.skipped(), tally.corpus.hexdigest()

    def _words(
        self, job: Job, totals: Mapping[Key, Totals], targets: Mapping[Key, Target]
    ) -> tuple[WordResult, ...]:
        results = []
        for key in sorted(totals):
            engine, condition, word = key
            settings, name = job.settings[engine], job.conditions[condition].name
            target = targets.get(key)
            configured = self.plan.engine[self._index(settings)].thresholds
            results.append(
                totals[key].result(
                    engine=settings.name,
                    word=word,
                    spoken=settings.said.get(word, word),
                    condition=name,
                    threshold=job.thresholds[engine][name, word],
                    threshold_from="target"
                    if target and target.threshold is not None
                    else ("settings" if word in configured else "manifest"),
                    target=target,
                    plan=self.plan,
                )
            )
        return tuple(results)

    def _index(self, settings: EngineSettings) -> int:
        return [engine.name for engine in self.plan.engine].index(settings.name)


class _PassTotals:
    """Totals, faults and the hash of the corpus over all engines. Not thread-safe."""

    def __init__(self, plays: int) -> None:
        self.totals: dict[Key, Totals] = {}
        self.corpus = hashlib.sha256()
        self._plays = plays
        self._skipped: set[SkippedItem] = set()
        self._faults: dict[str, list[str]] = {}
        self._played: set[str] = set()
        """Items with a fault that were played at least once."""

    def valid_items(self, corpus: RepeatingCorpus) -> Iterator[Item]:
        """Yield the valid items of a corpus; note the others."""
        for item in corpus:
            if isinstance(item, InvalidItem):
                self._skipped.add(SkippedItem(item=item.name, why=item.why))
            else:
                yield item

    def add(self, report: ItemReport, *, is_first_engine: bool) -> None:
        """Add the report of an item with one engine."""
        item = report.item
        self._add_faults(report)
        if is_first_engine:
            self.corpus.update(_identity(report))
        for take in report.takes:
            for word in take.words:
                key = take.engine, take.condition, word.word
                if key not in self.totals:
                    self.totals[key] = Totals(self._plays)
                self.totals[key].add(item, take, word, report.file_hash)

    def skipped(self) -> set[SkippedItem]:
        """Return the items that are not counted, or not completely.

        A fault that every play of an item has is of the item, and is named once; another one has
        the name of its engine and condition in front.
        """
        found = set(self._skipped)
        for name, faults in self._faults.items():
            reasons = {fault.partition(": ")[2] for fault in faults}
            is_of_item = name not in self._played and len(reasons) == 1
            found |= {
                SkippedItem(item=name, why=why) for why in (reasons if is_of_item else faults)
            }
        return found

    def _add_faults(self, report: ItemReport) -> None:
        name = report.item.name
        if report.faults and not report.file_hash:
            self._skipped |= {SkippedItem(item=name, why=fault) for fault in report.faults}
        elif report.faults:
            self._faults.setdefault(name, []).extend(report.faults)
        if report.takes:
            self._played.add(name)
        if report.cache_fault is not None:
            why = f"it could not be written: {report.cache_fault}"
            self._skipped.add(SkippedItem(item="score cache", why=why))


def _identity(report: ItemReport) -> bytes:
    """Return what the hash of the corpus covers of an item."""
    item = report.item
    labels = [(label.word, label.start_s, label.end_s) for label in item.labels]
    return msgspec.json.encode((item.name, report.file_hash, item.start_s, item.length_s, labels))


def _targets(totals: Mapping[Key, Totals], plan: EvaluationPlan) -> dict[Key, Target]:
    per_hour = plan.target_false_wakes_per_hour
    return {
        key: find_target(each.counts, each.plays, each.all.hours, per_hour)
        for key, each in totals.items()
        if per_hour is not None
    }


def _retune(job: Job, targets: Mapping[Key, Target]) -> tuple[dict[tuple[str, str], float], ...]:
    """Return the job's thresholds, replaced by those of the targets."""
    adjusted = [dict(thresholds) for thresholds in job.thresholds]
    for (engine, condition, word), target in targets.items():
        if target.threshold is not None:
            adjusted[engine][job.conditions[condition].name, word] = target.threshold
    return tuple(adjusted)


def _comparisons(job: Job, totals: Mapping[Key, Totals]) -> tuple[Comparison, ...]:
    """Compare each pair of engines for the same word, under each condition."""
    comparisons = []
    keys = sorted(totals)
    for first in keys:
        for second in keys:
            settings_a, settings_b = job.settings[first[0]], job.settings[second[0]]
            label = settings_a.said.get(first[2], first[2])
            if (
                first[0] < second[0]
                and first[1] == second[1]
                and (label == settings_b.said.get(second[2], second[2]))
            ):
                comparisons.append(
                    compare_engines(
                        label,
                        job.conditions[first[1]].name,
                        (settings_a.name, settings_b.name),
                        (totals[first].outcomes(), totals[second].outcomes()),
                        (totals[first].events, totals[second].events),
                        same_s=max(settings_a.refractory_s, settings_b.refractory_s),
                    )
                )
    return tuple(comparisons)


def _hashes(plan: EvaluationPlan, job: Job, corpus_hash: str) -> dict[str, str]:
    settings = hashlib.sha256(msgspec.json.encode(to_builtins(plan))).hexdigest()
    hashes = {"settings": settings, "corpus": corpus_hash, "code": code_hash()}
    for recipe in job.recipes:
        hashes |= {f"model {name}": value for name, value in recipe.hashes().items()}
    hashes |= {f"sound {path.name}": value for path, value in job.sound_hashes.items()}
    return hashes
