"""Training of a student head from a recipe to what it loses of its word, resumable at every part.

The head is trained by one thread, clips are made by processes: their number changes no result.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from listener.evaluate.pool import Processes
from listener.inference.catalogue import FIRST_STAGE, Catalogue
from listener.inference.onnx import HeadNet
from listener.train.batches import (
    pack_arrays,
    pack_samples,
    place_batch,
    place_in_quiet,
    speak_batch,
    unpack_arrays,
    unpack_talk,
)
from listener.train.bounds import (
    WEIGHTS,
    WakeCounter,
    fix_word,
    pack_first_stage,
    score_embeddings,
)
from listener.train.negatives import Negatives, Stream
from listener.train.student import TeacherStream
from listener.train.student_head import embed, pool_others, pool_word, train_student_head
from listener.train.student_head_plan import (
    ClipTask,
    StudentHeadRecipe,
    plan_student_clips,
    plan_student_talk,
)
from listener.train.teacher import Teacher
from listener.train.training import WorkProgress
from listener.train.voices.synthesis import derive_generator
from listener.train.work_folder import WorkFolder
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats
from listener.wakeword.manifest import KnownWord, Model
from listener.wakeword.student import INPUTS, StudentWeights, read_weights
from listener.wakeword.student_head import (
    STUDENT_WINDOW_FRAMES,
    StudentHeads,
    read_student_head,
    write_student_head,
)

HEAD: Final = "head"
"""Part with the student head."""
LOSSES: Final = "losses"
"""Part with what is lost of the word."""
SHARES: Final = (0.02, 0.02)
"""Part of the steps of real speech, by the embeddings of the network, at which the word would be
open by its student head alone, and by its own head alone."""

_SPEECH_WEIGHT: Final = 3.0
_OTHER_WEIGHT: Final = 1.0
"""Weights of the windows without the word: recorded speech, and other clips."""
_BATCH_S: Final = 0.013
"""Estimated seconds of one core of a batch of the training."""
_TEST_S: Final = 0.12
"""Estimated seconds of one core to score a clip in all ways."""
_LEAD_SAMPLES: Final = 24_000
_TAIL_SAMPLES: Final = 12_800
_ROOM_SAMPLE: Final = 3
"""Largest sample of the noise of a quiet room before and after a clip."""


@dataclass(frozen=True, slots=True)
class MeasuredLosses:
    """What a first stage loses of a word, on clips that trained nothing."""

    entry: KnownWord
    """Bounds, and the part of real speech at which the word is open."""
    woken: tuple[int, int]
    """Clips that wake without a first stage: in a quiet room, and in rooms and noise."""
    lost: tuple[int, int]
    """Those of them that do not wake with it."""


@dataclass(frozen=True, slots=True)
class PendingHead:
    """What is missing in the folder of a training."""

    talk: tuple[ClipTask, ...]
    clips: tuple[ClipTask, ...]
    has_head: bool
    has_losses: bool
    made: int
    """Parts that are there."""
    estimated_s: float
    """Seconds of one core."""


class StudentHeadTraining:
    """A training of a student head in a folder that is opened. For one thread."""

    def __init__(
        self,
        recipe: StudentHeadRecipe,
        negatives: Negatives,
        catalogue: Catalogue,
        folder: WorkFolder,
        jobs: int,
    ) -> None:
        """Plan.

        Args:
            recipe: the recipe.
            negatives: real recordings without the word.
            catalogue: has the word and the student; that of the data directory with neural voices.
            folder: that of the recipe.
            jobs: processes, at least 1; they change no result.
        """
        self._recipe, self._negatives, self._catalogue = recipe, negatives, catalogue
        self._folder, self._jobs = folder, jobs
        self._talk = plan_student_talk(recipe, catalogue.home)
        self._clips = plan_student_clips(recipe, catalogue.home, self._files(self._talk))

    def find_pending(self) -> PendingHead:
        """Return what is missing in the folder.

        Raises:
            Unavailable: a file there cannot be read.
        """
        folder = self._folder
        talk, clips = (
            tuple(each for each in tasks if folder.read(each.name, unpack_part(each)) is None)
            for tasks in (self._talk, self._clips)
        )
        has_head = folder.read(HEAD, unpack_head) is not None
        # The losses belong to the head.
        has_losses = has_head and folder.read(LOSSES, self._unpack_losses) is not None
        missing = len(talk) + len(clips) + (not has_head) + (not has_losses)
        made = len(self._talk) + len(self._clips) + 2 - missing
        seconds = sum(task.estimated_s for task in (*talk, *clips))
        seconds += 0 if has_head else self._head_s
        seconds += 0 if has_losses else self._losses_s
        return PendingHead(talk, clips, has_head, has_losses, made, seconds)

    def run(self, pending: PendingHead, progress: WorkProgress) -> MeasuredLosses:
        """Make what is missing; return what the head loses of its word.

        Raises:
            EarmarkError: an engine failed, a model is missing or has changed, or the disk is full.
        """
        for tasks in (pending.talk, pending.clips):
            # A worker of one process more would only wait.
            jobs = max(1, min(self._jobs, len(tasks)))
            for task, data in zip(tasks, Processes(jobs).map(make_part, tasks), strict=True):
                self._folder.write(task.name, data)
                progress.advance(task.estimated_s)
        if not pending.has_head:
            self._folder.write(HEAD, pack_head(self._train()))
            progress.advance(self._head_s)
        if not pending.has_losses:
            self._folder.write(LOSSES, self._measure())
            progress.advance(self._losses_s)
        return self._folder.require(LOSSES, self._unpack_losses)

    def head(self) -> bytes:
        """Return the file of the student head.

        Raises:
            Unavailable: it was removed meanwhile.
        """
        return self._folder.require(HEAD, unpack_head)

    @property
    def _head_s(self) -> float:
        return _BATCH_S * self._recipe.counts.batches

    @property
    def _losses_s(self) -> float:
        return _TEST_S * sum(len(task.batch.requests) for task in self._of("test"))

    def _of(self, form: str) -> list[ClipTask]:
        return [task for task in self._clips if task.form == form]

    def _files(self, tasks: Iterable[ClipTask]) -> tuple[Path, ...]:
        return tuple(self._folder.file(task.name) for task in tasks)

    def _student(self) -> Model:
        return self._catalogue.load(FIRST_STAGE)

    def _train(self) -> bytes:
        """Return the file of the student head.

        Real recordings are there as embeddings of the network alone. So the clips train as
        embeddings of both, and what differs between both tells nothing of the word.
        """
        student = self._student()
        weights = read_weights(student.data, student.name)
        recorded = [s.embeddings for s in (*self._negatives.train, *self._negatives.augmented)]
        pools = [pool_others("recordings", recorded, _SPEECH_WEIGHT)]
        words = join_streams([self._read(task) for task in self._of("word")])
        others = join_streams([self._read(task) for task in self._of("other")])
        for origin, embeddings in embed_twice(weights, words).items():
            pools += pool_word(f"word by {origin}", embeddings, words.word_steps)
        for origin, embeddings in embed_twice(weights, others).items():
            pools.append(pool_others(f"others by {origin}", [embeddings], _OTHER_WEIGHT))
        random = derive_generator(self._recipe.training.seed, "student head", self._recipe.name)
        return write_student_head(train_student_head(pools, random, self._recipe.counts.batches))

    def _read(self, task: ClipTask) -> TeacherStream:
        return self._folder.require(task.name, unpack_stream)

    def _measure(self) -> bytes:
        """Fix the bounds of the word, and count what the first stage loses of it."""
        word, student, data = self._catalogue.load(self._recipe.name), self._student(), self.head()
        with threadpool_limits(1):
            scores = score_speech(word, data, self._negatives.threshold)
            entry = fix_word(word, scores, SHARES, HEAD)
            contents = {WEIGHTS: student.data, HEAD: data}
            stage = pack_first_stage(HEAD, contents, {word.name: entry}, word.name)
            without = WakeCounter(self._catalogue, word, None)
            with_it = WakeCounter(self._catalogue, word, stage)
            woken, lost = [0, 0], [0, 0]
            random = np.random.default_rng(0)
            room = random.integers(-_ROOM_SAMPLE, _ROOM_SAMPLE + 1, _LEAD_SAMPLES).astype(np.int16)
            for task in self._of("test"):
                clips = self._folder.require(task.name, unpack_talk)
                for number, samples in enumerate(clips):
                    played = np.concatenate([room, samples, room[:_TAIL_SAMPLES]])
                    if without.wakes(played):
                        woken[number % 2] += 1
                        lost[number % 2] += not with_it.wakes(played)
        fixed = np.array([entry.bound, entry.own_bound, entry.speech_share])
        return pack_arrays(fixed=fixed, counts=np.array([woken, lost]))

    def _unpack_losses(self, data: bytes) -> MeasuredLosses:
        """Return the losses of an npz file.

        Raises:
            ValueError: it is not such a file.
        """
        fixed, counts = unpack_arrays(data, "fixed", "counts")
        if fixed.shape != (3,) or counts.shape != (2, 2):
            raise ValueError("it is not an outcome")
        bound, own_bound, share = fixed.tolist()
        woken, lost = counts.tolist()
        entry = KnownWord(
            sha256=self._recipe.sha256,
            bound=bound,
            own_bound=own_bound,
            speech_share=share,
            woken=sum(woken),
            lost=sum(lost),
            head=f"head-{self._recipe.name}.npy",
            spoken=(self._recipe.training.phrase.spoken,),
        )
        return MeasuredLosses(entry, (woken[0], woken[1]), (lost[0], lost[1]))


def embed_twice(weights: StudentWeights, stream: TeacherStream) -> dict[str, Floats]:
    """Return the embeddings of a stream by the student and by the network, shape (steps, 96)."""
    return {
        "the student": embed(weights, stream),
        "the network": stream.embeddings.astype(np.float32),
    }


def score_speech(word: Model, student_head: bytes, streams: Sequence[Stream]) -> list[list[Floats]]:
    """Return the scores of a word on real speech, by its student head, then by its own head.

    The embeddings are those of the network: those of the student are not stored. By them a word is
    open more rarely, see ``docs/decisions/0073``.

    Args:
        word: the wake word.
        student_head: file of its student head.
        streams: recordings that train nothing.

    Raises:
        ModelRefused: a head cannot be run.
    """
    own = HeadNet(word.data, word.name)
    small = StudentHeads([read_student_head(student_head, HEAD)])
    outputs = sorted(word.manifest.labels)
    speech = [each.embeddings for each in streams if not each.source.startswith("noise/")]
    return [
        [score_embeddings(small, STUDENT_WINDOW_FRAMES, [], each) for each in speech],
        [score_embeddings(own, own.window_frames, outputs, each) for each in speech],
    ]


def join_streams(streams: Sequence[TeacherStream]) -> TeacherStream:
    """Return streams, at least one, one after the other."""
    lengths = [len(stream.mel) for stream in streams]
    starts = [0, *itertools.accumulate(lengths[:-1])]
    return TeacherStream(
        np.concatenate([stream.mel for stream in streams]),
        np.concatenate([stream.embeddings for stream in streams]),
        np.concatenate(
            [stream.word_steps + start for stream, start in zip(streams, starts, strict=True)]
        ),
    )


def make_part(task: ClipTask) -> bytes:
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


def unpack_part(task: ClipTask) -> Callable[[bytes], object]:
    """Return what parses the file of a part; it raises ValueError if the file is damaged."""
    return unpack_stream if task.form in {"word", "other"} else unpack_talk


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


def pack_head(data: bytes) -> bytes:
    """Return the file of a student head as an npz file, whose damage is detected."""
    return pack_arrays(head=np.frombuffer(data, np.uint8))


def unpack_head(data: bytes) -> bytes:
    """Return the file of a student head in an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    (head,) = unpack_arrays(data, "head")
    return bytes(head)
