"""A tuning of the first stage from a recipe to what it loses of each word, resumable at every part.

The student is tuned by one thread, clips are made and words are measured by processes: their number
changes no result.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.evaluate.pool import Processes
from listener.inference.catalogue import Catalogue
from listener.train.batches import (
    pack_arrays,
    pack_samples,
    place_batch,
    place_in_quiet,
    speak_batch,
    unpack_arrays,
    unpack_talk,
)
from listener.train.student import Schedule, TeacherStream, train_student
from listener.train.teacher import Teacher
from listener.train.training import WorkProgress
from listener.train.tuning import (
    SPEECH_SHARE,
    TUNING_RATE,
    WEIGHTS,
    WakeCounter,
    fix_bound,
    open_share,
    pack_first_stage,
    score_by_student,
)
from listener.train.tuning_plan import TunedWord, TuningRecipe, TuningTask, plan_talk, plan_tuning
from listener.train.voices.synthesis import derive_generator
from listener.train.work_folder import WorkFolder
from listener.wakeword.embedding import FEATURES
from listener.wakeword.manifest import KnownWord
from listener.wakeword.student import INPUTS, read_weights, write_weights

STUDENT: Final = "student"
"""Part with the tuned weights."""

_BATCH_S: Final = 0.1
"""Estimated seconds of one core of a batch of the tuning."""
_TEST_S: Final = 0.12
"""Estimated seconds of one core to score a clip in all ways."""
_LEAD_SAMPLES: Final = 24_000
_TAIL_SAMPLES: Final = 12_800
_ROOM_SAMPLE: Final = 3
"""Largest sample of the noise of a quiet room before and after a clip."""


class NamedTask(Protocol):
    """Work whose result is stored by its name."""

    @property
    def name(self) -> str:
        """Name of its file."""


Task = TypeVar("Task", bound=NamedTask)


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """What measures one word; picklable."""

    name: str
    word: TunedWord
    student: Path
    """The tuned weights."""
    start: str
    """Name of the first stage that was tuned."""
    speech: tuple[Path, ...]
    """Speech without the word, which fixes the bound."""
    tests: tuple[Path, ...]
    home: Path
    added: Path
    """Folder of added models."""


@dataclass(frozen=True, slots=True)
class MeasuredLosses:
    """What a tuned first stage loses of one word, on clips that tuned nothing."""

    word: TunedWord
    bound: float
    speech_share: float
    """Part of the steps of synthetic speech at which the word is open."""
    woken: tuple[int, int]
    """Clips that wake without a first stage: in a quiet room, and in rooms and noise."""
    lost: tuple[int, int]
    """Those of them that do not wake with the tuned first stage."""
    lost_before: tuple[int, int] | None
    """Those of them that do not wake with the first stage that was tuned; None for a new word."""


@dataclass(frozen=True, slots=True)
class PendingTuning:
    """What is missing in the folder of a tuning."""

    talk: tuple[TuningTask, ...]
    clips: tuple[TuningTask, ...]
    has_student: bool
    measures: tuple[MeasureTask, ...]
    made: int
    """Parts that are there."""
    estimated_s: float
    """Seconds of one core."""


class Tuning:
    """A tuning in a folder that is opened. For one thread."""

    def __init__(
        self, recipe: TuningRecipe, catalogue: Catalogue, home: Path, folder: WorkFolder, jobs: int
    ) -> None:
        """Plan.

        Args:
            recipe: the recipe.
            catalogue: has the heads of the words and the first stage that is tuned.
            home: data directory, which has neural voices.
            folder: that of the recipe.
            jobs: processes, at least 1; they change no result.
        """
        self._recipe, self._catalogue = recipe, catalogue
        self._folder, self._jobs = folder, jobs
        self._talk = plan_talk(recipe, home)
        self._clips = plan_tuning(recipe, home, self._files(self._talk))
        speech = [task for task in self._clips if task.form == "sound"]
        self._measures = tuple(
            MeasureTask(
                f"measured-{word.name}",
                word,
                folder.file(STUDENT),
                recipe.start,
                self._files(speech),
                self._files(self._tests(word)),
                home,
                catalogue.added,
            )
            for word in recipe.words
        )

    def find_pending(self) -> PendingTuning:
        """Return what is missing in the folder.

        Raises:
            Unavailable: a file there cannot be read.
        """
        folder = self._folder
        talk, clips = (
            tuple(each for each in tasks if folder.read(each.name, unpack_part(each)) is None)
            for tasks in (self._talk, self._clips)
        )
        has_student = folder.read(STUDENT, unpack_student) is not None
        # The measurements belong to the weights.
        measures = tuple(
            task
            for task in self._measures
            if not has_student or folder.read(task.name, unpack_outcome(task.word)) is None
        )
        total = len(self._talk) + len(self._clips) + 1 + len(self._measures)
        missing = len(talk) + len(clips) + (not has_student) + len(measures)
        seconds = sum(task.estimated_s for task in (*talk, *clips))
        seconds += 0 if has_student else _BATCH_S * self._recipe.counts.batches
        seconds += sum(map(self._measure_s, measures))
        return PendingTuning(talk, clips, has_student, measures, total - missing, seconds)

    def run(self, pending: PendingTuning, progress: WorkProgress) -> tuple[MeasuredLosses, ...]:
        """Make what is missing; return the outcome of each word, the new one last.

        Raises:
            EarmarkError: an engine failed, a model is missing or has changed, or the disk is full.
        """
        for tasks in (pending.talk, pending.clips):
            self._make(make_part, tasks, lambda task: task.estimated_s, progress)
        if not pending.has_student:
            self._folder.write(STUDENT, pack_student(self._tune(progress)))
        self._make(measure_word, pending.measures, self._measure_s, progress)
        return tuple(
            self._folder.require(task.name, unpack_outcome(task.word)) for task in self._measures
        )

    def weights(self) -> bytes:
        """Return the tuned weights.

        Raises:
            Unavailable: they were removed meanwhile.
        """
        return self._folder.require(STUDENT, unpack_student)

    def _make(
        self,
        make: Callable[[Task], bytes],
        tasks: Sequence[Task],
        estimate_s: Callable[[Task], float],
        progress: WorkProgress,
    ) -> None:
        # A worker of one process more would only wait.
        jobs = max(1, min(self._jobs, len(tasks)))
        for task, data in zip(tasks, Processes(jobs).map(make, tasks), strict=True):
            self._folder.write(task.name, data)
            progress.advance(estimate_s(task))

    def _tune(self, progress: WorkProgress) -> bytes:
        recipe = self._recipe
        streams = [
            self._folder.require(task.name, unpack_stream)
            for task in self._clips
            if task.form == "stream"
        ]
        start = self._catalogue.load(recipe.start)
        with threadpool_limits(1):
            weights = train_student(
                streams,
                Schedule(recipe.counts.batches, TUNING_RATE),
                derive_generator(recipe.training.seed, "tuning"),
                read_weights(start.data, start.name),
                lambda _batch, _loss: progress.advance(_BATCH_S),
            )
        # The bounds belong to the weights as they are stored, in 16 bits.
        return write_weights(weights)

    def _tests(self, word: TunedWord) -> list[TuningTask]:
        return [task for task in self._clips if task.subject == word.name]

    def _measure_s(self, task: MeasureTask) -> float:
        return _TEST_S * sum(len(each.batch.requests) for each in self._tests(task.word))

    def _files(self, tasks: Iterable[TuningTask]) -> tuple[Path, ...]:
        return tuple(self._folder.file(task.name) for task in tasks)


def make_part(task: TuningTask) -> bytes:
    """Speak and place the clips of a part.

    Returns:
        An npz file for `unpack_part`.

    Raises:
        EarmarkError: an engine is missing or failed, or a model is missing.
    """
    batch = task.batch
    with threadpool_limits(1):
        clips = speak_batch(batch)
        if task.form == "talk":
            return pack_samples([clip.speech.samples for clip in clips])
        stretches = place_batch(batch, clips)
        placed = [stretch.samples for stretch in stretches]
        if task.form == "sound":
            return pack_samples(placed)
        if task.form == "test":
            quiet = [place_in_quiet(clip, batch.seed).samples for clip in clips]
            return pack_samples([*itertools.chain(*zip(quiet, placed, strict=True))])
        if not stretches:
            return pack_stream(
                TeacherStream(
                    np.zeros((0, INPUTS), np.float16),
                    np.zeros((0, FEATURES), np.float16),
                    np.zeros(0, np.int64),
                )
            )
        catalogue = Catalogue(batch.home)
        teacher = Teacher(catalogue.embedding(), catalogue.long_embedding())
        return pack_stream(teacher.teach_stretches(stretches))


def measure_word(task: MeasureTask) -> bytes:
    """Fix the bound of a word, and count what the tuned first stage loses of it.

    A word that the first stage knew is open at least as often as with it, and its bound does not
    rise.

    Returns:
        An npz file for `unpack_outcome`.

    Raises:
        EarmarkError: a model is missing or has changed, or a part cannot be read.
    """
    catalogue = Catalogue(task.home, task.added)
    word, start = catalogue.load(task.word.name), catalogue.load(task.start)
    data = unpack_student(task.student.read_bytes())
    speech = [s for file in task.speech for s in unpack_talk(file.read_bytes())]
    with threadpool_limits(1):
        scores = score_by_student(catalogue, word, read_weights(data, STUDENT), speech)
        known = start.manifest.words.get(word.name)
        if task.word.bound is None or known is None:
            bound = fix_bound(scores, SPEECH_SHARE)
        else:
            old = score_by_student(catalogue, word, read_weights(start.data, start.name), speech)
            bound = min(known.bound, fix_bound(scores, open_share([old], [known.bound])))
        share = round(open_share([scores], [bound]), 4)
        entry = KnownWord(sha256=word.manifest.sha256, bound=bound, speech_share=share)
        tuned = pack_first_stage(STUDENT, {WEIGHTS: data}, {word.name: entry}, task.word.name)
        listeners = [WakeCounter(catalogue, word, None), WakeCounter(catalogue, word, tuned)]
        if task.word.bound is not None:
            listeners.append(WakeCounter(catalogue, word, start))
        counts = np.zeros((2, 3), np.int64)
        room = np.random.default_rng(0).integers(-_ROOM_SAMPLE, _ROOM_SAMPLE + 1, _LEAD_SAMPLES)
        for file in task.tests:
            for number, samples in enumerate(unpack_talk(file.read_bytes())):
                lead = room.astype(np.int16)
                played = np.concatenate([lead, samples, lead[:_TAIL_SAMPLES]])
                woken, *kept = (each.wakes(played) for each in listeners)
                counts[number % 2, 0] += woken
                for column, wakes in enumerate(kept, 1):
                    counts[number % 2, column] += woken and not wakes
    return pack_arrays(fixed=np.array([bound, share]), counts=counts)


def unpack_part(task: TuningTask) -> Callable[[bytes], object]:
    """Return what parses the file of a part; it raises ValueError if the file is damaged."""
    return unpack_stream if task.form == "stream" else unpack_talk


def pack_stream(stream: TeacherStream) -> bytes:
    """Return a stream as an npz file."""
    return pack_arrays(mel=stream.mel, embeddings=stream.embeddings, words=stream.word_steps)


def unpack_stream(data: bytes) -> TeacherStream:
    """Return the stream of an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    mel, embeddings, words = unpack_arrays(data, "mel", "embeddings", "words")
    if mel.shape != (len(embeddings), INPUTS) or embeddings.shape != (len(mel), FEATURES):
        raise ValueError(f"mel frames have the shape {mel.shape}, not {(len(embeddings), INPUTS)}")
    return TeacherStream(mel, embeddings, words)


def pack_student(data: bytes) -> bytes:
    """Return a file of weights as an npz file, whose damage is detected."""
    return pack_arrays(student=np.frombuffer(data, np.uint8))


def unpack_student(data: bytes) -> bytes:
    """Return the weights of an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    (student,) = unpack_arrays(data, "student")
    return bytes(student)


def unpack_outcome(word: TunedWord) -> Callable[[bytes], MeasuredLosses]:
    """Return what parses the outcome of a word; it raises ValueError if the file is damaged."""

    def unpack(data: bytes) -> MeasuredLosses:
        fixed, counts = unpack_arrays(data, "fixed", "counts")
        if fixed.shape != (2,) or counts.shape != (2, 3):
            raise ValueError("it is not an outcome")
        bound, share = fixed.tolist()
        woken, lost, before = (_pair(column) for column in counts.T)
        return MeasuredLosses(
            word, bound, share, woken, lost, None if word.bound is None else before
        )

    return unpack


def _pair(counts: NDArray[np.int64]) -> tuple[int, int]:
    quiet, noisy = counts.tolist()
    return quiet, noisy
