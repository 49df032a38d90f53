"""Bounds of the words of a first stage, and what it loses of them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.config import WakeSettings
from listener.inference.build import build_batch, build_rule, build_student_batch
from listener.inference.catalogue import Catalogue
from listener.wakeword.batch import BATCH_STEPS, ManyHead
from listener.wakeword.detector import Trigger, Wake
from listener.wakeword.features import Floats
from listener.wakeword.first_stage import OpenSteps, best_output
from listener.wakeword.manifest import File, KnownWord, Manifest, Model
from listener.wakeword.second_opinion import RecordingModel
from listener.wakeword.student import StudentWeights

WEIGHTS: Final = "student.npy"

_LOWEST_BOUND: Final = 1e-12
_HALVINGS: Final = 40
_SCORED_AT_ONCE: Final = 2048


def pack_first_stage(
    name: str,
    contents: Mapping[str, bytes],
    words: dict[str, KnownWord],
    origin: str,
    figures: Mapping[str, Any] | None = None,
) -> Model:
    """Return a first stage of its files.

    Args:
        name: name of the model.
        contents: files by path: the student's weights, then the student heads that the words name.
        words: what it knows, at least one.
        origin: author of the weights.
        figures: measurements for the manifest.
    """
    files = tuple(
        File(path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for path, content in contents.items()
    )
    manifest = Manifest(
        name=name,
        kind="first-stage",
        origin=origin,
        licence="Apache-2.0",
        input_shape=(1, 1, 8, 32),
        files=files,
        words=words,
        figures=dict(figures or {}),
    )
    return Model(manifest, tuple(contents.values()))


def fix_word(
    word: Model, scores: Sequence[Sequence[Floats]], shares: Sequence[float], head: str
) -> KnownWord:
    """Return the entry of a word whose bounds are fixed by speech without the word.

    Args:
        word: the wake word.
        scores: of that speech, see `score_by_student`: by the student head, and by the own head.
        shares: part of the steps at which the word would be open by each of these heads alone.
        head: path of the word's student head.
    """
    bounds = [fix_bound(each, share) for each, share in zip(scores, shares, strict=True)]
    return KnownWord(
        sha256=word.manifest.sha256,
        bound=bounds[0],
        own_bound=bounds[1],
        speech_share=round(open_share(scores, bounds), 4),
        head=head,
    )


def score_by_student(
    catalogue: Catalogue,
    word: Model,
    weights: StudentWeights,
    speech: Sequence[Samples],
    student_head: bytes | None = None,
) -> list[Floats]:
    """Return the scores of a word on a student's embeddings, by recording, shape (steps, 1).

    Args:
        catalogue: has the mel front end.
        word: the wake word.
        weights: the student.
        speech: recordings, each scored from the start of a stream.
        student_head: file of the word's student head; None: its own head scores.

    Raises:
        ModelRefused: the head cannot be run.
    """
    heads = {} if student_head is None else {word.name: student_head}
    model = build_student_batch([word], catalogue.embedding(), weights, heads)
    return [score_recording(model, samples) for samples in speech]


def score_recording(model: RecordingModel, samples: Samples) -> Floats:
    """Return the scores of a recording, shape (steps, words), from the start of a stream."""
    model.restart()
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    size = BATCH_STEPS * FRAME_SAMPLES
    blocks = range(0, len(whole), size)
    return np.concatenate([model.push(whole[first : first + size]).copy() for first in blocks])


def score_embeddings(
    head: ManyHead, window_frames: int, outputs: list[int], embeddings: Floats
) -> Floats:
    """Return the scores of a word on embeddings, shape (steps, 1), 0 before the first window.

    Args:
        head: the word's own head, or its student head.
        window_frames: embeddings in its window.
        outputs: outputs that count; none means the first.
        embeddings: float32, shape (steps, 96).
    """
    scores = np.zeros((len(embeddings), 1), np.float32)
    for first in range(0, len(embeddings) - window_frames + 1, _SCORED_AT_ONCE):
        part = np.ascontiguousarray(embeddings[first : first + window_frames - 1 + _SCORED_AT_ONCE])
        found = best_output(head.over(part).score(window_frames, len(part)), outputs)
        scores[first + window_frames - 1 : first + len(part), 0] = found
    return scores


def fix_bound(student_scores: Sequence[Floats], share: float) -> float:
    """Return the highest bound at which at least ``share`` of the steps are open.

    Args:
        student_scores: scores of the head on the student's embeddings, by recording, shape
            (steps, 1).
        share: part of the steps, 0 to 1.
    """
    low, high = np.log(_LOWEST_BOUND), 0.0
    total = sum(map(len, student_scores))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if open_share([student_scores], [float(np.exp(middle))]) * total >= share * total:
            low = middle
        else:
            high = middle
    return float(f"{np.exp(low):.3g}")


def reach_bounds(
    scores: Sequence[Sequence[Floats]], bounds: Sequence[float]
) -> Iterator[NDArray[np.bool_]]:
    """Yield where a word's scores reach its bounds, by recording, shape (steps, 1).

    Args:
        scores: by head and recording, shape (steps, 1).
        bounds: of the heads.
    """
    limits = np.array(bounds, np.float32)
    for recording in zip(*scores, strict=True):
        yield np.all(np.concatenate(recording, axis=1) >= limits, axis=1, keepdims=True)


def open_share(scores: Sequence[Sequence[Floats]], bounds: Sequence[float]) -> float:
    """Return the part of the steps at which a word with these bounds is open, if it is alone.

    Args:
        scores: by head and recording, shape (steps, 1).
        bounds: of the heads.
    """
    opened = sum(int(OpenSteps([1]).push(each).sum()) for each in reach_bounds(scores, bounds))
    return opened / sum(map(len, scores[0]))


class WakeCounter:
    """Wakes of one word in recordings, as on a device. Not safe for use by several threads."""

    def __init__(self, catalogue: Catalogue, word: Model, first_stage: Model | None) -> None:
        """Load the networks.

        Args:
            catalogue: has the embedding networks, and the second network of the word, if it has
                one.
            word: the wake word.
            first_stage: knows the word; None: every step is scored.

        Raises:
            ModelRefused: a model is missing, or cannot be run.
        """
        self._model = build_batch(
            [word],
            catalogue.embedding(),
            catalogue.long_embedding(),
            first_stage=first_stage,
            opinions=catalogue.second_opinions([word]),
        )
        self._rule = build_rule(word, WakeSettings())
        self._word = word.name

    def wakes(self, samples: Samples) -> bool:
        """Return whether a recording wakes."""
        scores = score_recording(self._model, samples)
        trigger = Trigger(self._word, self._rule)
        events = [
            trigger.push(value, (step + 1) * FRAME_SAMPLES)
            for step, value in enumerate(np.nan_to_num(scores[:, 0]).tolist())
        ]
        return any(isinstance(event, Wake) for event in events)


class Pair:
    """Wakes of one word without and with a first stage. Not safe for use by several threads."""

    def __init__(self, catalogue: Catalogue, word: Model, first_stage: Model) -> None:
        """Load the networks; see ``WakeCounter``."""
        self._without = WakeCounter(catalogue, word, None)
        self._with = WakeCounter(catalogue, word, first_stage)

    def wakes(self, samples: Samples) -> tuple[bool, bool]:
        """Return whether a recording wakes without the first stage, and with it."""
        return self._without.wakes(samples), self._with.wakes(samples)
