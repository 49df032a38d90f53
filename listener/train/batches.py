"""Batches of synthetic clips as embeddings: spoken, placed in rooms and noise, and embedded.

A batch is the unit of work that is stored, so a training that was ended continues with the next
one. It runs in a process of its own and depends on the recipe alone.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.inference.catalogue import Catalogue
from listener.train.acoustics import Surroundings
from listener.train.clips import (
    ClipRequest,
    LabelledStretch,
    SyntheticClip,
    place_clips,
    speak_clips,
)
from listener.train.features import FIRST_WINDOW, WINDOW_FRAMES, Embedder
from listener.train.voices.registry import open_engine
from listener.train.voices.synthesis import derive_generator
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats

BatchKind = Literal["talk", "train", "quiet", "rooms"]
"""``talk``: sentences whose sound is kept, as context and babble of the others; ``train``: copies
in rooms and noise; ``quiet``: one copy in a quiet room without noise; ``rooms``: one copy as in
training, for a test."""

BATCH_CLIPS: Final = 20
"""Clips in a batch; about 10 s of work."""

_LEAD_S: Final = 1.0
_TAIL_S: Final = 0.6
_QUIET_PEAK: Final = 0.2
_QUIET_RMS: Final = 3.0
"""Root mean square of the noise of a quiet room, in units of int16."""
_FIRST_END_SAMPLES: Final = 480
"""Least time from the end of a word to the end of a window that is trained as the word."""
WORD_WINDOWS: Final = 4
"""Windows after the end of a word that are trained as the word: 30 to 350 ms."""
TEST_WINDOWS: Final = 9
"""Windows around the end of a word of which one must wake: 0.2 s before to 0.5 s after."""
_TEST_BEFORE_STEPS: Final = 2
_BEFORE_STEPS: Final = 8
_AFTER_STEPS: Final = 8
"""Steps around the end of a word whose windows hold most of it: neither word nor other speech."""

Steps = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BatchTask:
    """What a batch is made of; picklable, so that any process can make it."""

    part: str
    """Purpose of its clips: ``word``, ``near`` or ``sentence`` of the training, or a test."""
    name: str
    """Name of its file."""
    kind: BatchKind
    requests: tuple[ClipRequest, ...]
    seed: int
    copies: int
    home: Path
    talk: tuple[Path, ...] = ()
    """Batches of the kind ``talk`` that were made before."""


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """The embeddings of a batch."""

    embeddings: Floats
    """float32, shape (steps, 96); one stream."""
    last_steps: Steps
    """Last step of each stretch, shape (stretches,)."""
    word_steps: Steps
    """Step in which the word of each stretch ends, -1 without one, shape (stretches,)."""
    clips: Steps
    """Index of each stretch's request, shape (stretches,)."""

    def word_ends(self) -> Steps:
        """Return the last steps of the windows that hold the word."""
        words = self.word_steps[self.word_steps >= 0]
        ends: Steps = (words[:, None] + np.arange(WORD_WINDOWS)).ravel()
        return ends[(ends >= FIRST_WINDOW) & (ends < len(self.embeddings))]

    def other_ends(self) -> Steps:
        """Return the last steps of the windows that hold nothing of the word, or a part of it."""
        is_other = np.ones(len(self.embeddings), bool)
        is_other[:FIRST_WINDOW] = False
        for word in self.word_steps[self.word_steps >= 0].tolist():
            is_other[max(0, word - _BEFORE_STEPS) : word + WORD_WINDOWS + _AFTER_STEPS] = False
        return np.flatnonzero(is_other)

    def test_ends(self) -> tuple[Steps, ...]:
        """Return for each stretch the last steps of the windows of which one must wake.

        For a stretch without a word, of the windows that end in it.
        """
        ends = []
        first = FIRST_WINDOW
        for last, word in zip(self.last_steps.tolist(), self.word_steps.tolist(), strict=True):
            start, end = first, last + 1
            if word >= 0:
                start = max(FIRST_WINDOW, word - _TEST_BEFORE_STEPS)
                end = min(word - _TEST_BEFORE_STEPS + TEST_WINDOWS, len(self.embeddings))
            ends.append(np.arange(start, max(start, end)))
            first = max(FIRST_WINDOW, last + 1)
        return tuple(ends)

    def pack(self) -> bytes:
        """Return the batch as an npz file; embeddings in 16 bits."""
        return pack_arrays(
            embeddings=self.embeddings.astype(np.float16),
            last_steps=self.last_steps,
            word_steps=self.word_steps,
            clips=self.clips,
        )


def unpack(data: bytes) -> EmbeddedBatch:
    """Return the batch of an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    arrays = unpack_arrays(data, "embeddings", "last_steps", "word_steps", "clips")
    embeddings, *rest = arrays
    if embeddings.ndim != 2 or embeddings.shape[1] != FEATURES:  # noqa: PLR2004 - steps and features
        raise ValueError(f"embeddings have the shape {embeddings.shape}")
    if {each.shape for each in rest} != {rest[0].shape}:
        raise ValueError("the stretches of a batch differ in number")
    return EmbeddedBatch(embeddings.astype(np.float32), *rest)


def unpack_talk(data: bytes) -> tuple[Samples, ...]:
    """Return the speech of a batch of the kind ``talk``.

    Raises:
        ValueError: it is not such a file.
    """
    samples, lengths = unpack_arrays(data, "samples", "lengths")
    # The rest after the last one is empty.
    return tuple(np.split(samples, np.cumsum(lengths))[:-1])


def make_batch(task: BatchTask) -> bytes:
    """Speak, place and embed the clips of a batch.

    Returns:
        An npz file for `unpack`, or for `unpack_talk`.

    Raises:
        EarmarkError: an engine is missing or failed, or a model is missing.
    """
    with threadpool_limits(1):
        clips = speak_batch(task)
        if task.kind == "talk":
            return pack_samples([clip.speech.samples for clip in clips])
        return _embed(task, place_batch(task, clips)).pack()


def pack_samples(recordings: Sequence[Samples]) -> bytes:
    """Return recordings as an npz file for ``unpack_talk``."""
    return pack_arrays(
        samples=np.concatenate([np.zeros(0, np.int16), *recordings]),
        lengths=np.array([len(each) for each in recordings], np.int64),
    )


def speak_batch(task: BatchTask) -> list[SyntheticClip]:
    """Return the clips of a batch.

    Raises:
        EarmarkError: an engine is missing or failed.
    """
    names = dict.fromkeys(request.engine for request in task.requests)
    engines = [open_engine(name, task.home) for name in names]
    return list(speak_clips(task.requests, engines, task.seed, 1))


def place_batch(task: BatchTask, clips: Sequence[SyntheticClip]) -> list[LabelledStretch]:
    """Return the stretches of the clips of a batch, by its kind."""
    if task.kind == "quiet":
        return [place_in_quiet(clip, task.seed) for clip in clips]
    talk = tuple(each for path in task.talk for each in unpack_talk(path.read_bytes()))
    return list(place_clips(clips, Surroundings(talk), task.seed, task.copies))


def place_in_quiet(clip: SyntheticClip, seed: int) -> LabelledStretch:
    """Return a clip at a usual level, between stretches of a quiet room."""
    speech, request = clip.speech, clip.request
    random = derive_generator(seed, "quiet", request.kind, request.engine, request.number)
    # A part of a step more or less, so that words end anywhere in a step.
    lead = round(_LEAD_S * SAMPLE_RATE_HZ) + int(random.integers(FRAME_SAMPLES))
    sound = random.standard_normal(lead + len(speech.samples) + round(_TAIL_S * SAMPLE_RATE_HZ))
    sound *= _QUIET_RMS
    sound[lead : lead + len(speech.samples)] += speech.samples * _QUIET_PEAK
    end = lead + speech.end if request.kind == "word" else None
    return LabelledStretch(np.rint(sound).astype(np.int16), end, clip)


def _embed(task: BatchTask, stretches: Sequence[LabelledStretch]) -> EmbeddedBatch:
    catalogue = Catalogue(task.home)
    embedder = Embedder(catalogue.embedding(), catalogue.long_embedding())
    # The first windows of a stream have no score.
    parts: list[Samples] = [np.zeros((FIRST_WINDOW - WINDOW_FRAMES + 2) * FRAME_SAMPLES, np.int16)]
    length = len(parts[0])
    last_steps, word_steps, numbers = [], [], []
    index = {request: number for number, request in enumerate(task.requests)}
    for stretch in stretches:
        word = -1
        if stretch.word_end is not None:
            # The first step that ends late enough after the word.
            word = -(-(length + stretch.word_end + _FIRST_END_SAMPLES) // FRAME_SAMPLES) - 1
        parts.append(stretch.samples)
        length += len(stretch.samples)
        word_steps.append(word)
        last_steps.append(length // FRAME_SAMPLES - 1)
        numbers.append(index[stretch.clip.request])
    parts.append(np.zeros(FRAME_SAMPLES, np.int16))
    embeddings = embedder.embed(np.concatenate(parts))
    return EmbeddedBatch(
        embeddings, *(np.array(each, np.int64) for each in (last_steps, word_steps, numbers))
    )


def pack_arrays(**arrays: NDArray[Any]) -> bytes:
    """Return arrays as an npz file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type] # numpy's stub takes allow_pickle by name
    return stream.getvalue()


def unpack_arrays(data: bytes, *names: str) -> list[NDArray[Any]]:
    """Return arrays of an npz file.

    Raises:
        ValueError: it is not such a file.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, KeyError, EOFError, ValueError) as error:
        raise ValueError(f"it is not a batch: {error}") from error
    except Exception as error:  # zipfile.BadZipFile, zlib.error: a damaged archive
        raise ValueError(f"it is damaged: {error}") from error
