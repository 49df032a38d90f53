"""Construction of detectors from models: for a stream on the device, and in batches."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.config import WakeSettings
from listener.errors import ModelRefused
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import HeadNet, LongNet, OpinionNet, StreamNet
from listener.quantities import quantity
from listener.wakeword.batch import BATCH_STEPS, BatchModel, BatchStage, ManyHead
from listener.wakeword.detector import Rule, StreamDetector
from listener.wakeword.embedding import STEP_FRAMES, Embeddings
from listener.wakeword.features import Floats, Mel
from listener.wakeword.first_stage import FirstStage, StageWord
from listener.wakeword.manifest import Model
from listener.wakeword.micro_features import MicroFeatures
from listener.wakeword.second_opinion import (
    CHUNK_FRAMES,
    BatchEnsemble,
    EnsembleModel,
    Opinion,
    RecordingModel,
    SecondOpinions,
)
from listener.wakeword.streaming import StreamingModel, Word
from listener.wakeword.student import LongStudent, StudentNet, StudentWeights, read_weights
from listener.wakeword.student_head import (
    STUDENT_WINDOW_FRAMES,
    StudentHeads,
    read_student_head,
)

_FRAME_MS: Final = FRAME_SAMPLES * 1000 // SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class FirstStageModels:
    """The models that a detector with a first stage has besides its words'."""

    student: Model
    """A first stage that knows all words, see ``Catalogue.first_stage``."""
    long: Model | None = None
    """The embedding network that takes any number of steps. At a hop of 80 ms it catches up by
    several steps at once; None: one step after the other."""


def build_detector(
    words: Sequence[Model],
    embedding: Model,
    settings: WakeSettings,
    first_stage: FirstStageModels | None = None,
    opinions: Sequence[Model] = (),
) -> StreamDetector:
    """Build the detector for one stream.

    Args:
        words: wake-word models, in the order of ``StreamDetector.scores``.
        embedding: the streaming embedding network that they share.
        settings: hop, lazy mode, thresholds, patience and refractory.
        first_stage: None: the embedding network runs at every step.
        opinions: models of second opinions, see ``Catalogue.second_opinions``; a word whose model
            is not among them is scored by its head alone.

    Raises:
        ModelRefused: a file is not a model that can be run.
    """
    long = None if first_stage is None else first_stage.long
    if long is not None and settings.hop_ms == _FRAME_MS:
        # It takes single steps, too, in the same time: one network in memory instead of two.
        network = StreamNet(long.data, long.name)
    else:
        file = _file(embedding, f"stream-{settings.hop_ms}.onnx")
        network = StreamNet(file, embedding.name)
    weights = mel_weights(embedding)
    heads = tuple(_word(word) for word in words)
    longest = max(word.window_frames for word in heads)
    gate = None
    if first_stage is not None:
        student = StudentNet(_student(first_stage.student), network.hop_frames)
        gate = FirstStage(
            student,
            _stage_words(first_stage.student, words, heads),
            STEP_FRAMES // network.hop_frames,
        )
    model = StreamingModel(
        Mel(weights, network.hop_frames),
        Embeddings(network, longest),
        heads,
        lazy=settings.lazy,
        first_stage=gate,
    )
    rules = {word.name: build_rule(word, settings) for word in words}
    second = _second_opinions(words, opinions, FRAME_SAMPLES // model.steps_per_frame)
    return StreamDetector(model if second is None else EnsembleModel(model, second), rules)


def load_detector(
    catalogue: Catalogue, words: Sequence[Model], settings: WakeSettings
) -> StreamDetector:
    """Build the detector for one stream with all that the settings ask for.

    Args:
        catalogue: the embedding network, the first stage and the second opinions are loaded
            from it.
        words: wake-word models, in the order of ``StreamDetector.scores``.
        settings: as for ``build_detector``; also whether there are a first stage and second
            opinions.

    Raises:
        ModelRefused: a model is missing, or a file is not a model that can be run.
    """
    student = catalogue.first_stage(words) if settings.first_stage else None
    return build_detector(
        words,
        catalogue.embedding(),
        settings,
        None if student is None else FirstStageModels(student, catalogue.long_embedding()),
        catalogue.second_opinions(words) if settings.second_opinion else (),
    )


def build_batch(  # noqa: PLR0913, PLR0917 - each model from its own file
    words: Sequence[Model],
    embedding: Model,
    long: Model,
    batch_steps: int = BATCH_STEPS,
    first_stage: Model | None = None,
    opinions: Sequence[Model] = (),
) -> RecordingModel:
    """Build the model that scores recordings in batches, at a hop of 80 ms.

    Args:
        words: wake-word models, in the order of the columns of the scores.
        embedding: the streaming embedding network; its mel weights are used.
        long: the embedding network that takes any number of steps.
        batch_steps: steps computed at once.
        first_stage: scores are absent (NaN) where a device with this first stage has none.
        opinions: models of second opinions, as for ``build_detector``.

    Raises:
        ModelRefused: a file is not a model that can be run.
    """
    network = LongNet(long.data, long.name)
    heads = [(_word(word), HeadNet(word.data, word.name)) for word in words]
    model = BatchModel(
        mel_weights(embedding),
        network,
        [word for word, _ in heads],
        [head for _, head in heads],
        batch_steps,
        None
        if first_stage is None
        else BatchStage(
            LongStudent(_student(first_stage)),
            _stage_words(first_stage, words, [word for word, _ in heads]),
            [head for _, head in heads],
        ),
    )
    second = _second_opinions(words, opinions, FRAME_SAMPLES)
    return model if second is None else BatchEnsemble(model, second)


def build_student_batch(
    words: Sequence[Model],
    embedding: Model,
    weights: StudentWeights,
    student_heads: Mapping[str, bytes] | None = None,
) -> BatchModel:
    """Build the model that scores recordings by the student's embeddings at every step.

    Bounds are chosen by these scores; a device only compares them with its bounds.

    Args:
        words: wake-word models, in the order of the columns of the scores.
        embedding: the streaming embedding network; its mel weights are used.
        weights: the student.
        student_heads: files of student heads by word; other words are scored by their own heads.

    Raises:
        ModelRefused: a file is not a model that can be run.
    """
    heads: list[tuple[Word, ManyHead]] = []
    for word in words:
        data = (student_heads or {}).get(word.name)
        if data is None:
            heads.append((_word(word), HeadNet(word.data, word.name)))
        else:
            head = StudentHeads([read_student_head(data, f"the student head of {word.name}")])
            heads.append((Word(word.name, head, STUDENT_WINDOW_FRAMES), head))
    return BatchModel(
        mel_weights(embedding),
        LongStudent(weights),
        [word for word, _ in heads],
        [head for _, head in heads],
    )


def build_rule(word: Model, settings: WakeSettings) -> Rule:
    """Return the rule that turns a word's scores into wakes.

    Raises:
        ModelRefused: neither the settings nor the manifest have a threshold.
    """
    threshold = settings.thresholds.get(word.name, word.manifest.threshold)
    if threshold is None:
        raise ModelRefused(
            f"{word.name} has no threshold, neither in its manifest nor in the configuration"
        )
    steps_per_frame = _FRAME_MS // settings.hop_ms
    patience_frames = settings.patience_frames or word.manifest.patience_frames or 1
    return Rule(
        threshold=threshold,
        # Two frames in a row are three steps in a row if a frame has two steps.
        patience_steps=(patience_frames - 1) * steps_per_frame + 1,
        refractory_samples=round(settings.refractory_s * SAMPLE_RATE_HZ),
        near_miss_threshold=settings.near_miss_threshold,
    )


def mel_weights(model: Model) -> Floats:
    """Return the weights of the mel bands, float32, shape (120, 32).

    Args:
        model: the streaming embedding network, which has them in a file of its own.

    Raises:
        ModelRefused: it has no such file.
    """
    weights: Floats = np.load(io.BytesIO(_file(model, "mel.npy")), allow_pickle=False)
    return weights


def _second_opinions(
    words: Sequence[Model], models: Sequence[Model], step_samples: int
) -> SecondOpinions | None:
    """Return the second opinions on those words that have one among the models."""
    loaded = {model.name: model for model in models}
    opinions = []
    front_end = None
    for column, word in enumerate(words):
        asked = word.manifest.second_opinion
        if asked is None or asked.model not in loaded:
            continue
        model = loaded[asked.model]
        network = OpinionNet(_file(model, asked.file), f"{model.name}/{asked.file}")
        opinions.append(Opinion(column, network, asked.from_score))
        if front_end is None:
            front_end = MicroFeatures(_filters(model), CHUNK_FRAMES)
    return None if front_end is None else SecondOpinions(front_end, opinions, step_samples)


def _filters(model: Model) -> NDArray[np.int16]:
    """Return the bands of the front end of a model for second opinions."""
    filters: NDArray[np.int16] = np.load(
        io.BytesIO(_file(model, "filters.npy")), allow_pickle=False
    )
    return filters


def _student(model: Model) -> StudentWeights:
    """Return the weights of the student of a first stage."""
    return read_weights(model.data, model.name)


def _stage_words(
    first_stage: Model, words: Sequence[Model], heads: Sequence[Word]
) -> list[StageWord]:
    """Return what opens each word.

    Args:
        first_stage: the first stage.
        words: the words.
        heads: the same words with their own heads.

    Raises:
        ModelRefused: the first stage does not know a word, or a file is not a student head.
    """
    found = []
    for word, own in zip(words, heads, strict=True):
        if not first_stage.manifest.knows(word):
            raise ModelRefused(
                f"{first_stage.name} was not trained for {word.name}",
                "set wake.first_stage = false",
            )
        known = first_stage.manifest.words[word.name]
        if known.head is None:
            found.append(StageWord(own, known.bound))
        else:
            data = _file(first_stage, known.head)
            head = read_student_head(data, f"{first_stage.name}/{known.head}")
            found.append(StageWord(own, known.own_bound, head, known.bound))
    return found


def _file(model: Model, path: str) -> bytes:
    for file, data in zip(model.manifest.files, model.contents, strict=True):
        if file.path == path:
            return data
    raise ModelRefused(f"{model.name} has no file {path!r}")


def _word(model: Model) -> Word:
    """Load a head and check it against its manifest."""
    head = HeadNet(model.data, model.name)
    labels = tuple(sorted(model.manifest.labels.items()))
    if model.manifest.window_frames != head.window_frames:
        raise ModelRefused(
            f"{model.name} takes {head.window_frames} embeddings,"
            f" but its manifest says {model.manifest.window_frames}"
        )
    if any(output >= head.outputs for output, _ in labels):
        raise ModelRefused(
            f"{model.name} has labels for more than its {quantity(head.outputs, 'output')}"
        )
    if head.outputs > 1 and not labels:
        raise ModelRefused(
            f"{model.name} has {head.outputs} outputs and no labels",
            "add a table [labels] to its manifest: output = name",
        )
    return Word(model.name, head, head.window_frames, labels)
