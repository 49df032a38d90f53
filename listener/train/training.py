"""A training from a recipe to an ensemble and its measurements, resumable at every batch.

Batches are made by processes, heads are trained by threads of one BLAS thread each: the order of
neither changes a result.
"""

import io
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.evaluate.pool import Processes
from listener.inference.catalogue import Catalogue
from listener.train.batches import BatchTask, EmbeddedBatch, make_batch, unpack, unpack_talk
from listener.train.features import FIRST_WINDOW, Embedder
from listener.train.heads import (
    AVERAGED,
    DenseHead,
    Ensemble,
    Standard,
    fit_standard,
    gather,
)
from listener.train.negatives import Negatives, Stream, hours
from listener.train.optimise import HeadTrainer, Pool
from listener.train.plan import Recipe, estimate_s, plan_batches, plan_talk
from listener.train.thresholds import Track, sustain
from listener.train.voices.synthesis import derive_generator
from listener.train.work_folder import WorkFolder
from listener.wakeword.features import Floats

MODEL: Final = "head"
"""The ensemble that is the model, and the beginning of the names of its heads."""
TEST: Final = "test-head"
"""The ensemble that is tested on the engine it was trained without."""
HEAD_WIDTH: Final = 128
"""Units in each hidden layer of a head."""

_HEAD_STEP_S: Final = 0.015
_STANDARD_WINDOWS: Final = 4000
_FAVOURED: Final = 1.5
_DISFAVOURED: Final = 0.5
_SCORED_AT_ONCE: Final = 4096
_REAL_WEIGHT: Final = 3.0
_OTHER_WEIGHTS: Final[Mapping[str, float]] = {"word": 0.6, "near": 2.0, "sentence": 1.0}
"""Weights of windows without the word, by the part that they are from."""


class WorkProgress(Protocol):
    """Takes the work that is done, in estimated seconds of one core."""

    def advance(self, amount: float) -> None:
        """Add work that is done."""


@dataclass(frozen=True, slots=True)
class PendingWork:
    """What is missing in the folder of a training."""

    talk: tuple[BatchTask, ...]
    batches: tuple[BatchTask, ...]
    heads: tuple[str, ...]
    made: int
    """Batches and heads that are there."""
    estimated_s: float
    """Seconds of one core."""


@dataclass(frozen=True, slots=True)
class NearScore:
    """A phrase that sounds like the word, and what it scored."""

    phrase: str
    logits: tuple[float, ...]
    """Highest logit of each clip."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The ensemble of the model, that of the test, and what they scored.

    The heads of the test are trained without one engine, and are scored on it. They have
    thresholds of their own.
    """

    ensemble: Ensemble
    hours_trained: float
    """Real recordings without the word that trained the heads."""
    tracks: tuple[Track, ...]
    """The half of the negatives that fixes thresholds."""
    test_tracks: tuple[Track, ...]
    """The same recordings by the heads of the test."""
    quiet: Floats
    """Highest logit of each word of the engine left out, in a quiet room, by the heads of the test;
    shape (words,)."""
    rooms: Floats
    """The same words in rooms and noise."""
    near: tuple[NearScore, ...]
    """Phrases that sound like the word, by the heads of the test, highest first."""
    takes: tuple[float, ...] = ()
    """Highest logit of each of the person's recordings."""


class Training:
    """A training in a folder that is opened. For one thread."""

    def __init__(
        self, recipe: Recipe, negatives: Negatives, home: Path, folder: WorkFolder, jobs: int
    ) -> None:
        """Plan; make nothing.

        Args:
            recipe: the recipe.
            negatives: real recordings without the word.
            home: data directory, which has neural voices.
            folder: the folder of this recipe.
            jobs: processes and threads, at least 1; they change no result.
        """
        self._recipe, self._negatives, self._folder = recipe, negatives, folder
        self._home, self._jobs = home, jobs
        self._talk = plan_talk(recipe, home)
        self._tasks = plan_batches(recipe, home, [folder.file(task.name) for task in self._talk])

    def find_pending(self) -> PendingWork:
        """Return what is missing in the folder.

        Raises:
            Unavailable: a file there cannot be read.
        """
        read = self._folder.read
        talk = tuple(task for task in self._talk if read(task.name, unpack_talk) is None)
        missing = tuple(task for task in self._tasks if read(task.name, unpack) is None)
        names = [name for part in self._head_parts() for name in self._head_names(part)]
        heads = tuple(name for name in names if read(name, unpack_head) is None)
        total = len(self._talk) + len(self._tasks) + len(names)
        return PendingWork(
            talk,
            missing,
            heads,
            total - len(talk) - len(missing) - len(heads),
            sum(map(estimate_s, (*talk, *missing)))
            + _HEAD_STEP_S * self._recipe.counts.steps * len(heads),
        )

    def make_batches(
        self, pending: PendingWork, progress: WorkProgress
    ) -> tuple[tuple[BatchTask, EmbeddedBatch], ...]:
        """Make the batches that are missing; return all but those of talk.

        Raises:
            EarmarkError: an engine failed, or the disk is full.
        """
        for tasks in (pending.talk, pending.batches):
            # A worker of one process more would only wait.
            jobs = max(1, min(self._jobs, len(tasks)))
            for task, data in zip(tasks, Processes(jobs).map(make_batch, tasks), strict=True):
                self._folder.write(task.name, data)
                progress.advance(estimate_s(task))
        return tuple((task, self._folder.require(task.name, unpack)) for task in self._tasks)

    def train(
        self, made: Sequence[tuple[BatchTask, EmbeddedBatch]], progress: WorkProgress
    ) -> dict[str, Ensemble]:
        """Train the heads that are not in the folder yet; return the best of them as ensembles.

        Args:
            made: what ``make_batches`` returned.
            progress: takes the work.

        Returns:
            The ensembles `MODEL`, and with several engines `TEST`.
        """
        return {part: self._train_part(part, made, progress) for part in self._head_parts()}

    def _head_parts(self) -> tuple[str, ...]:
        return (MODEL,) if self._recipe.left_out is None else (MODEL, TEST)

    def _train_part(
        self, part: str, made: Sequence[tuple[BatchTask, EmbeddedBatch]], progress: WorkProgress
    ) -> Ensemble:
        recipe = self._recipe
        names = [each.name for each in recipe.engines if part == MODEL or each != recipe.left_out]
        pools = build_pools(names, self._negatives, made)
        lock = threading.Lock()

        def advance() -> None:
            with lock:
                progress.advance(_HEAD_STEP_S)

        def train_one(number: int) -> DenseHead:
            name = self._head_names(part)[number]
            stored = self._folder.read(name, unpack_head)
            if stored is not None:
                return stored
            random = derive_generator(recipe.seed, part, number)
            head = DenseHead(HEAD_WIDTH, random)
            trainer = HeadTrainer(standard, _favour(pools, names, number), recipe.counts.steps)
            trainer.train(head, random, advance)
            self._folder.write(name, pack_head(head))
            return head

        with threadpool_limits(1), ThreadPoolExecutor(self._jobs) as threads:
            standard = _standard(pools, recipe.seed)
            heads = tuple(threads.map(train_one, range(len(self._head_names(part)))))
            threshold = self._negatives.threshold
            highest = tuple(
                threads.map(lambda head: find_highest(standard, head, threshold), heads)
            )
            return Ensemble(standard, choose_heads(heads, highest))

    def _head_names(self, part: str) -> list[str]:
        counts = self._recipe.counts
        candidates = counts.candidates if part == MODEL else counts.test_candidates
        return [f"{part}-{number}" for number in range(candidates)]

    def measure(
        self, ensembles: Mapping[str, Ensemble], made: Sequence[tuple[BatchTask, EmbeddedBatch]]
    ) -> Trained:
        """Score what trained nothing: half of the negatives, and for the test one engine."""
        tests: dict[str, list[float]] = {"quiet": [], "rooms": []}
        near: dict[str, list[float]] = {}
        model, test = ensembles[MODEL], ensembles.get(TEST)
        negatives = self._negatives
        with threadpool_limits(1):
            tracks = tuple(score_stream(model, each) for each in negatives.threshold)
            test_tracks = tuple(score_stream(test or model, each) for each in negatives.threshold)
            for task, batch in made if test else ():
                part = task.part
                if part not in {*tests, "test-near"} or test is None:
                    continue
                scores = score_stretches(test, batch)
                if part in tests:
                    tests[part] += scores
                    continue
                for clip, logit in zip(batch.clips.tolist(), scores, strict=True):
                    near.setdefault(task.requests[clip].text, []).append(logit)
        ranked = [NearScore(phrase, tuple(logits)) for phrase, logits in near.items()]
        ranked.sort(key=lambda each: (-max(each.logits), each.phrase))
        quiet, rooms = (np.array(each, np.float32) for each in tests.values())
        return Trained(
            *(model, hours(negatives.train), tracks, test_tracks, quiet, rooms, tuple(ranked))
        )


def find_highest(standard: Standard, head: DenseHead, negatives: Sequence[Stream]) -> float:
    """Return the highest sustained logit of a head over recordings without the word."""
    alone = Ensemble(standard, (head,))
    return max(float(score_stream(alone, each).logits.max(initial=-np.inf)) for each in negatives)


def choose_heads(heads: Sequence[DenseHead], highest: Sequence[float]) -> tuple[DenseHead, ...]:
    """Return the `AVERAGED` heads that score recordings without the word lowest, in their order.

    The threshold of a head follows from the one stretch that it scores highest: a head with an
    outlier there misses words. Decision 0075 has the measurements.

    Args:
        heads: at least `AVERAGED`.
        highest: highest logit of each over recordings that trained none of them.
    """
    ranked = sorted(range(len(heads)), key=lambda number: highest[number])
    return tuple(heads[number] for number in sorted(ranked[:AVERAGED]))


def build_pools(
    engines: Sequence[str],
    negatives: Negatives,
    made: Sequence[tuple[BatchTask, EmbeddedBatch]],
) -> list[Pool]:
    """Return the pools of a training: synthetic by engine and kind, and real negatives."""
    share = 1 / max(1, len(engines))
    pools = [
        _stream_pool("real", negatives.train, _REAL_WEIGHT),
        _stream_pool("real in noise", negatives.augmented, _REAL_WEIGHT),
    ]
    for part in ("word", "near", "sentence"):
        chosen = [
            (task, batch) for task, batch in made if task.kind == "train" and task.part == part
        ]
        if not chosen:
            continue
        embeddings = np.concatenate([batch.embeddings for _, batch in chosen])
        for engine in engines:
            words, others = _ends(chosen, engine)
            weight = _OTHER_WEIGHTS[part] * share
            pools.append(Pool(f"{part} {engine}", embeddings, words, share, is_word=True))
            pools.append(Pool(f"around {part} {engine}", embeddings, others, weight, is_word=False))
    return [pool for pool in pools if len(pool.ends)]


def score_stream(ensemble: Ensemble, stream: Stream) -> Track:
    """Return the sustained logits of a recording."""
    ends = np.arange(FIRST_WINDOW, len(stream.embeddings))
    logits = sustain(score_ends(ensemble, stream.embeddings, ends))
    return Track(stream.source, logits, stream.seconds)


def score_ends(ensemble: Ensemble, embeddings: Floats, ends: NDArray[np.int64]) -> Floats:
    """Return the logits of windows, float32, shape (n,)."""
    parts = (
        ensemble.score(gather(embeddings, ends[first : first + _SCORED_AT_ONCE]))
        for first in range(0, len(ends), _SCORED_AT_ONCE)
    )
    return np.concatenate([np.zeros(0, np.float32), *parts])


def score_stretches(ensemble: Ensemble, batch: EmbeddedBatch) -> list[float]:
    """Return the highest sustained logit of each stretch of a batch."""
    return [
        float(sustain(score_ends(ensemble, batch.embeddings, ends)).max(initial=-np.inf))
        for ends in batch.test_ends()
    ]


def score_takes(ensemble: Ensemble, takes: Sequence[Samples], home: Path) -> tuple[float, ...]:
    """Return the highest sustained logit of each recording of the word.

    Args:
        ensemble: the heads.
        takes: int16 at 16 kHz, each with one word.
        home: data directory.
    """
    catalogue = Catalogue(home)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    lead = np.zeros((FIRST_WINDOW + 1) * FRAME_SAMPLES, np.int16)
    streams = [embedder.embed(np.concatenate([lead, take, lead[:8000]])) for take in takes]
    return tuple(
        float(sustain(score_ends(ensemble, each, np.arange(FIRST_WINDOW, len(each)))).max())
        for each in streams
    )


def pack_head(head: DenseHead) -> bytes:
    """Return the weights of a head as an npz file."""
    stream = io.BytesIO()
    np.savez(stream, *head.parameters)
    return stream.getvalue()


def unpack_head(data: bytes) -> DenseHead:
    """Return the head of an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    head = DenseHead(HEAD_WIDTH, np.random.default_rng(0))
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            parameters: list[Any] = [arrays[f"arr_{n}"] for n in range(len(head.parameters))]
    except Exception as error:  # zipfile.BadZipFile, zlib.error, KeyError: a damaged archive
        raise ValueError(f"it is not a head: {error}") from error
    for parameter, read in zip(head.parameters, parameters, strict=True):
        if read.shape != parameter.shape or read.dtype != np.float32:
            raise ValueError("it is a head of another shape")
    head.parameters = parameters
    return head


def _ends(
    made: Sequence[tuple[BatchTask, EmbeddedBatch]], engine: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ends of an engine's windows, with and without the word, in joined embeddings."""
    words: list[NDArray[np.int64]] = []
    others: list[NDArray[np.int64]] = []
    first = 0
    for task, batch in made:
        is_engine = np.array([request.engine == engine for request in task.requests])
        # The stretch that each step belongs to; the end of the stream belongs to none.
        stretch = np.searchsorted(batch.last_steps, np.arange(len(batch.embeddings)))
        is_step = np.append(is_engine[batch.clips], values=[False])[stretch]
        for ends, found in ((batch.word_ends(), words), (batch.other_ends(), others)):
            found.append(ends[is_step[ends]] + first)
        first += len(batch.embeddings)
    return np.concatenate(words), np.concatenate(others)


def _stream_pool(name: str, streams: Sequence[Stream], weight: float) -> Pool:
    embeddings = np.concatenate([stream.embeddings for stream in streams])
    lasts = np.cumsum([len(stream.embeddings) for stream in streams])
    ends = [
        np.arange(last - len(stream.embeddings) + FIRST_WINDOW, last)
        for stream, last in zip(streams, lasts.tolist(), strict=True)
    ]
    return Pool(name, embeddings, np.concatenate(ends), weight, is_word=False)


def _standard(pools: Sequence[Pool], seed: int) -> Standard:
    random = derive_generator(seed, "standard")
    windows = []
    for pool in pools:
        count = min(_STANDARD_WINDOWS, len(pool.ends))
        windows.append(gather(pool.embeddings, random.choice(pool.ends, count, replace=False)))
    return fit_standard(np.concatenate(windows))


def _favour(pools: Sequence[Pool], engines: Sequence[str], number: int) -> list[Pool]:
    """Return the pools of one head: each favours other engines, so that their errors differ.

    Every third head favours none. The engines are in the order of the registry: the first half of
    them are programs, the second half the more natural ones.
    """
    half = len(engines) // 2
    favoured = ((), engines[:half], engines[half:])[number % 3]
    return [
        Pool(
            pool.name,
            pool.embeddings,
            pool.ends,
            pool.weight
            * (
                1.0
                if not favoured or not pool.is_word
                else _FAVOURED
                if pool.name.removeprefix("word ") in favoured
                else _DISFAVOURED
            ),
            pool.is_word,
        )
        for pool in pools
    ]
