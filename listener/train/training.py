"""A training from a recipe to an ensemble and its measurements, resumable at every batch.

Batches are made by processes, heads are trained by threads of one BLAS thread each: the order of
neither changes a result.
"""

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.audio.pcm import Samples
from listener.evaluate.pool import Processes
from listener.inference.catalogue import Catalogue
from listener.train.batches import BatchTask, EmbeddedBatch, make_batch, unpack, unpack_talk
from listener.train.features import FIRST_WINDOW, Embedder
from listener.train.heads import DenseHead, Ensemble, Standard, fit_standard, gather
from listener.train.negatives import Negatives, Stream
from listener.train.optimise import Pool, train_head
from listener.train.plan import Recipe, estimate_s, plan_batches, plan_talk
from listener.train.thresholds import Track
from listener.train.voices.synthesis import derive_generator
from listener.train.work_folder import WorkFolder
from listener.wakeword.features import Floats

HEADS: Final = 3
"""Heads whose logits are averaged."""
HEAD_WIDTH: Final = 64
"""Units in each hidden layer of a head."""

_HEAD_STEP_S: Final = 0.02
_STANDARD_WINDOWS: Final = 4000
_FAVOURED: Final = 2.0
_DISFAVOURED: Final = 0.5
_SCORED_AT_ONCE: Final = 4096


class Progress(Protocol):
    """Takes the work that is done, in estimated seconds of one core."""

    def advance(self, amount: float) -> None:
        """Add work that is done."""


@dataclass(frozen=True, slots=True)
class PendingWork:
    """What is missing in the folder of a training."""

    talk: tuple[BatchTask, ...]
    batches: tuple[BatchTask, ...]
    heads: tuple[int, ...]
    made: int
    """Batches and heads that are there."""
    estimated_s: float
    """Seconds of one core."""


@dataclass(frozen=True, slots=True)
class NearScore:
    """A phrase that sounds like the word, and what it scored."""

    phrase: str
    highest: float
    """Highest logit of its clips."""
    logits: tuple[float, ...]
    """Highest logit of each clip."""


@dataclass(frozen=True, slots=True)
class Trained:
    """An ensemble and what it scored."""

    ensemble: Ensemble
    tracks: tuple[Track, ...]
    """Of the half of the negatives that fixes thresholds."""
    quiet: Floats
    """Highest logit of each word of the engine left out, in a quiet room; shape (words,)."""
    rooms: Floats
    """The same words in rooms and noise."""
    near: tuple[NearScore, ...]
    """Phrases that sound like the word, highest first."""


def find_pending(recipe: Recipe, home: Path, folder: WorkFolder) -> PendingWork:
    """Return what is missing in the folder of a training.

    Raises:
        Unavailable: a file there cannot be read.
    """
    talk, others = plan_talk(recipe, home), tuple(iterate_tasks(recipe, home, folder))
    missing_talk = tuple(task for task in talk if folder.read(task.name, unpack_talk) is None)
    missing = tuple(task for task in others if folder.read(task.name, unpack) is None)
    heads = tuple(n for n in range(HEADS) if folder.read(f"head-{n}", unpack_head) is None)
    total = len(talk) + len(others) + HEADS
    return PendingWork(
        missing_talk,
        missing,
        heads,
        total - len(missing_talk) - len(missing) - len(heads),
        sum(map(estimate_s, (*missing_talk, *missing)))
        + _HEAD_STEP_S * recipe.counts.steps * len(heads),
    )


def make_batches(
    recipe: Recipe,
    home: Path,
    pending: PendingWork,
    folder: WorkFolder,
    jobs: int,
    progress: Progress,
) -> dict[str, EmbeddedBatch]:
    """Make the batches that are missing; return all, by name, but those of talk.

    Args:
        recipe: the recipe.
        home: data directory.
        pending: what is missing.
        folder: opened.
        jobs: processes.
        progress: takes the work.

    Raises:
        EarmarkError: an engine failed, or the disk is full.
    """
    for tasks in (pending.talk, pending.batches):
        for task, data in zip(tasks, Processes(jobs).map(make_batch, tasks), strict=True):
            folder.write(task.name, data)
            progress.advance(estimate_s(task))
    return {task.name: _read(folder, task) for task in iterate_tasks(recipe, home, folder)}


def train(
    recipe: Recipe,
    negatives: Negatives,
    batches: dict[str, EmbeddedBatch],
    tasks: Sequence[BatchTask],
    folder: WorkFolder,
    jobs: int,
    progress: Progress,
) -> Ensemble:
    """Train the heads that are not in the folder yet; return all as an ensemble.

    Args:
        recipe: the recipe.
        negatives: real recordings without the word.
        batches: by name, see ``make_batches``.
        tasks: what they were made of.
        folder: opened.
        jobs: threads.
        progress: takes the work.
    """
    pools = build_pools(recipe, negatives, batches, tasks)
    with threadpool_limits(1):
        standard = _standard(pools, recipe.seed)
        heads = [folder.read(f"head-{number}", unpack_head) for number in range(HEADS)]
        missing = [number for number, head in enumerate(heads) if head is None]
        steps = recipe.counts.steps
        lock = threading.Lock()

        def advance() -> None:
            with lock:
                progress.advance(_HEAD_STEP_S)

        def train_one(number: int) -> tuple[int, DenseHead]:
            random = derive_generator(recipe.seed, "head", number)
            head = DenseHead(HEAD_WIDTH, random)
            chosen = _favour(pools, [engine.name for engine in recipe.engines], number)
            train_head(head, standard, chosen, steps, random, advance)
            return number, head

        with ThreadPoolExecutor(jobs) as threads:
            for number, head in threads.map(train_one, missing):
                folder.write(f"head-{number}", pack_head(head))
                heads[number] = head
    return Ensemble(standard, tuple(head for head in heads if head is not None))


def measure(
    recipe: Recipe,
    ensemble: Ensemble,
    negatives: Negatives,
    batches: dict[str, EmbeddedBatch],
    tasks: Sequence[BatchTask],
) -> Trained:
    """Score what trained nothing: the other half of the negatives, and the engine left out."""
    with threadpool_limits(1):
        tracks = tuple(score_stream(ensemble, stream) for stream in negatives.threshold)
        found: dict[str, list[Floats]] = {"quiet": [], "rooms": []}
        near: dict[str, list[float]] = {}
        for task in tasks:
            part = task.name.rpartition("-")[0]
            batch = batches[task.name]
            if part in found:
                found[part].append(np.array(score_stretches(ensemble, batch), np.float32))
            elif part == "test-near":
                for clip, logit in zip(
                    batch.clips.tolist(), score_stretches(ensemble, batch), strict=True
                ):
                    near.setdefault(task.requests[clip].text, []).append(logit)
    quiet, rooms = (np.concatenate([np.zeros(0, np.float32), *found[key]]) for key in found)
    ranked = [NearScore(phrase, max(logits), tuple(logits)) for phrase, logits in near.items()]
    ranked.sort(key=lambda each: (-each.highest, each.phrase))
    return Trained(ensemble, tracks, quiet, rooms, tuple(ranked))


def build_pools(
    recipe: Recipe,
    negatives: Negatives,
    batches: dict[str, EmbeddedBatch],
    tasks: Sequence[BatchTask],
) -> list[Pool]:
    """Return the pools of a training: synthetic by engine and kind, and real negatives."""
    real = [("real", negatives.train, 3.0), ("real in noise", negatives.augmented, 3.0)]
    pools = [_stream_pool(name, streams, weight) for name, streams, weight in real if streams]
    for engine in recipe.engines:
        words, near, sentences = (
            _join(batches, tasks, part, engine.name) for part in ("word", "near", "sentence")
        )
        if words is not None:
            ends = _ends(words)
            embeddings = np.concatenate([batch.embeddings for batch, _ in words])
            pools.append(Pool(f"word {engine.name}", embeddings, ends[0], 1.0, is_word=True))
            pools.append(Pool(f"around {engine.name}", embeddings, ends[1], 0.6, is_word=False))
        for kind, part, weight in (("near", near, 2.0), ("sentence", sentences, 1.0)):
            if part is not None:
                embeddings = np.concatenate([batch.embeddings for batch, _ in part])
                pools.append(
                    Pool(f"{kind} {engine.name}", embeddings, _ends(part)[1], weight, is_word=False)
                )
    share = 1 / max(1, len(recipe.engines))
    return [
        pool
        if pool.name.startswith("real")
        else Pool(pool.name, pool.embeddings, pool.ends, pool.weight * share, pool.is_word)
        for pool in pools
        if len(pool.ends)
    ]


def score_stream(ensemble: Ensemble, stream: Stream) -> Track:
    """Return the logits of a recording, of each step that has a score."""
    ends = np.arange(FIRST_WINDOW, len(stream.embeddings))
    return Track(stream.source, score_ends(ensemble, stream.embeddings, ends))


def score_ends(ensemble: Ensemble, embeddings: Floats, ends: NDArray[np.int64]) -> Floats:
    """Return the logits of windows, float32, shape (n,)."""
    parts = [np.zeros(0, np.float32)]
    for first in range(0, len(ends), _SCORED_AT_ONCE):
        parts.append(ensemble.score(gather(embeddings, ends[first : first + _SCORED_AT_ONCE])))
    return np.concatenate(parts)


def score_stretches(ensemble: Ensemble, batch: EmbeddedBatch) -> list[float]:
    """Return the highest logit of each stretch of a batch."""
    return [
        float(score_ends(ensemble, batch.embeddings, ends).max(initial=-np.inf))
        for ends in batch.test_ends()
    ]


def score_takes(ensemble: Ensemble, takes: Sequence[Samples], home: Path) -> list[float]:
    """Return the highest logit of each recording of the word.

    Args:
        ensemble: the heads.
        takes: int16 at 16 kHz, each with one word.
        home: data directory.
    """
    catalogue = Catalogue(home)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    lead = np.zeros((FIRST_WINDOW + 1) * 1280, np.int16)
    highest = []
    for take in takes:
        embeddings = embedder.embed(np.concatenate([lead, take, lead[:8000]]))
        ends = np.arange(FIRST_WINDOW, len(embeddings))
        highest.append(float(score_ends(ensemble, embeddings, ends).max()))
    return highest


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


def _read(folder: WorkFolder, task: BatchTask) -> EmbeddedBatch:
    batch = folder.read(task.name, unpack)
    if batch is None:
        raise FileNotFoundError(folder.file(task.name))
    return batch


def _join(
    batches: dict[str, EmbeddedBatch], tasks: Sequence[BatchTask], part: str, engine: str
) -> list[tuple[EmbeddedBatch, NDArray[np.bool_]]] | None:
    """Return the batches of a part, each with the stretches that an engine spoke."""
    joined = []
    for task in tasks:
        if task.kind == "train" and task.name.rpartition("-")[0] == part:
            batch = batches[task.name]
            is_engine = np.array([request.engine == engine for request in task.requests])
            joined.append((batch, is_engine[batch.clips]))
    return joined or None


def _ends(
    joined: list[tuple[EmbeddedBatch, NDArray[np.bool_]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ends of windows with and without the word, in the joined embeddings."""
    words, others = [], []
    first = 0
    for batch, is_chosen in joined:
        # The stretch that each step belongs to; the end of the stream belongs to none.
        stretch = np.searchsorted(batch.last_steps, np.arange(len(batch.embeddings)))
        is_step = np.append(is_chosen, False)[stretch]  # noqa: FBT003 - one more stretch, not chosen
        for ends, found in ((batch.word_ends(), words), (batch.other_ends(), others)):
            found.append(ends[is_step[ends]] + first)
        first += len(batch.embeddings)
    return np.concatenate(words), np.concatenate(others)


def _stream_pool(name: str, streams: Sequence[Stream], weight: float) -> Pool:
    embeddings = np.concatenate([stream.embeddings for stream in streams])
    ends, first = [], 0
    for stream in streams:
        ends.append(np.arange(first + FIRST_WINDOW, first + len(stream.embeddings)))
        first += len(stream.embeddings)
    return Pool(name, embeddings, np.concatenate(ends), weight, is_word=False)


def _standard(pools: Sequence[Pool], seed: int) -> Standard:
    random = derive_generator(seed, "standard")
    windows = []
    for pool in pools:
        count = min(_STANDARD_WINDOWS, len(pool.ends))
        windows.append(gather(pool.embeddings, random.choice(pool.ends, count, replace=False)))
    return fit_standard(np.concatenate(windows))


def _favour(pools: Sequence[Pool], engines: Sequence[str], number: int) -> list[Pool]:
    """Return the pools of one head: each favours other engines, so that their errors differ."""
    groups = [engines[turn :: HEADS - 1] for turn in range(HEADS - 1)]
    favoured = () if number == 0 else groups[number - 1]
    return [
        Pool(
            pool.name,
            pool.embeddings,
            pool.ends,
            pool.weight
            * (
                1.0
                if number == 0 or not pool.is_word
                else _FAVOURED
                if pool.name.removeprefix("word ") in favoured
                else _DISFAVOURED
            ),
            pool.is_word,
        )
        for pool in pools
    ]


def iterate_tasks(recipe: Recipe, home: Path, folder: WorkFolder) -> Iterator[BatchTask]:
    """Yield the tasks whose batches ``make_batches`` returns."""
    talk = [folder.file(task.name) for task in plan_talk(recipe, home)]
    yield from plan_batches(recipe, home, talk)
