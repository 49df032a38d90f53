"""A first stage for one more word: tuning of its student, and bounds for all of its words."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.random import Generator

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.inference.build import build_batch, build_student_batch
from listener.inference.catalogue import Catalogue
from listener.train.acoustics import Surroundings
from listener.train.clips import (
    ClipRequest,
    LabelledStretch,
    place_clips,
    plan_clips,
    speak_clips,
)
from listener.train.phrase import Phrase
from listener.train.student import Schedule, TeacherStream, train_student
from listener.train.teacher import Teacher
from listener.train.texts import make_sentences
from listener.train.voices.engine import VoiceEngine
from listener.wakeword.batch import BATCH_STEPS
from listener.wakeword.detector import Rule, Trigger, Wake
from listener.wakeword.features import Floats
from listener.wakeword.first_stage import OpenSteps
from listener.wakeword.manifest import DEFAULT_THRESHOLD, File, KnownWord, Manifest, Model
from listener.wakeword.second_opinion import RecordingModel
from listener.wakeword.student import StudentWeights, read_weights, write_weights

SPEECH_SHARE: Final = 0.053
"""Part of the steps of speech at which a word is open whose losses were not measured."""
WEIGHTS: Final = "student.npy"
TUNING: Final = Schedule(batches=600, highest_rate=5e-4)
"""A tuning is short and slow: the student knows the other words already."""
WORD_CLIPS: Final = 60
WORD_COPIES: Final = 3
SENTENCE_CLIPS: Final = 120
"""Sentences that tune, and as many others that fix the bounds."""
ADDED: Final = "first-stage-added"
"""Name of the first stage that ``earmark train`` tunes; it knows the shipped words, too."""

_LOWEST_BOUND: Final = 1e-12
_HALVINGS: Final = 40


def make_tuning_streams(
    catalogue: Catalogue,
    engines: Sequence[VoiceEngine],
    phrase: Phrase,
    surroundings: Surroundings,
    seed: int,
) -> tuple[list[TeacherStream], list[Samples]]:
    """Make what `tune_first_stage` takes, from synthetic voices.

    Args:
        catalogue: has the embedding networks.
        engines: voices, at least one.
        phrase: the new wake word.
        surroundings: rooms, noises and other speech.
        seed: seed of the training.

    Returns:
        Streams of the word and of sentences, and other sentences that fix the bounds.

    Raises:
        Unavailable: an engine failed.
        ModelRefused: an embedding network is missing, or has changed.
    """
    teacher = Teacher(catalogue.embedding(), catalogue.long_embedding())
    names = [engine.name for engine in engines]
    words = plan_clips("word", [phrase.spoken], names, WORD_CLIPS)
    texts = make_sentences(phrase, 2 * SENTENCE_CLIPS)
    sentences = plan_clips("sentence", texts, names, 2 * SENTENCE_CLIPS)

    def place(plan: Sequence[ClipRequest], copies: int) -> Iterator[LabelledStretch]:
        return place_clips(speak_clips(plan, engines, seed), surroundings, seed, copies)

    streams = [
        teacher.teach_stretches(place(words, WORD_COPIES)),
        teacher.teach_stretches(place(sentences[:SENTENCE_CLIPS], 1)),
    ]
    kept = [stretch.samples for stretch in place(sentences[SENTENCE_CLIPS:], 1)]
    return streams, [np.concatenate(kept)]


def tune_first_stage(  # noqa: PLR0913, PLR0917 - the parts of a tuning
    catalogue: Catalogue,
    first_stage: Model,
    word: Model,
    streams: Sequence[TeacherStream],
    speech: Sequence[Samples],
    random: Generator,
) -> Model:
    """Return a first stage that knows one more word.

    The student is tuned on streams of the word and of other speech. Then the bound of each word
    that it knows is fixed anew, because its scores have changed.

    Args:
        catalogue: has the heads of the words that the first stage knows, and the networks.
        first_stage: the shipped one, or one that was tuned before.
        word: the new wake word.
        streams: stretches of the new word with their ends, and of other speech.
        speech: recordings without any of the words, which fix the bounds.
        random: draws the batches.

    Raises:
        ModelRefused: a head is missing, or has changed.
    """
    start = read_weights(first_stage.data, first_stage.name)
    # The bounds belong to the weights as they are stored, in 16 bits.
    data = write_weights(train_student(streams, TUNING, random, start))
    weights = read_weights(data, ADDED)
    words = [catalogue.load(name) for name in first_stage.manifest.words if name != word.name]
    shares = {name: each.speech_share for name, each in first_stage.manifest.words.items()}
    known = {
        each.name: fix_word(catalogue, each, weights, speech, shares.get(each.name, SPEECH_SHARE))
        for each in (*words, word)
    }
    return pack_first_stage(ADDED, data, known, first_stage.manifest.origin)


def pack_first_stage(name: str, data: bytes, words: dict[str, KnownWord], origin: str) -> Model:
    """Return a first stage of a file of weights.

    Args:
        name: name of the model.
        data: the weights.
        words: what it knows, at least one.
        origin: author of the weights.
    """
    file = File(path=WEIGHTS, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    manifest = Manifest(
        name=name,
        kind="first-stage",
        origin=origin,
        licence="Apache-2.0",
        input_shape=(1, 1, 8, 32),
        files=(file,),
        words=words,
    )
    return Model(manifest, (data,))


def fix_word(
    catalogue: Catalogue,
    word: Model,
    weights: StudentWeights,
    speech: Sequence[Samples],
    share: float,
) -> KnownWord:
    """Return the entry of a word whose bound is fixed by speech without the word.

    Args:
        catalogue: has the mel front end.
        word: the wake word.
        weights: the student.
        speech: recordings, each scored from the start of a stream.
        share: part of the steps at which the word is open.

    Raises:
        ModelRefused: the head cannot be run.
    """
    model = build_student_batch([word], catalogue.embedding(), weights)
    scores = [score_recording(model, samples) for samples in speech]
    bound = fix_bound(scores, share)
    actual = round(open_share(scores, bound), 4)
    return KnownWord(sha256=word.manifest.sha256, bound=bound, speech_share=actual)


def score_recording(model: RecordingModel, samples: Samples) -> Floats:
    """Return the scores of a recording, shape (steps, words), from the start of a stream."""
    model.restart()
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    size = BATCH_STEPS * FRAME_SAMPLES
    blocks = range(0, len(whole), size)
    return np.concatenate([model.push(whole[first : first + size]).copy() for first in blocks])


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
        if open_share(student_scores, float(np.exp(middle))) * total >= share * total:
            low = middle
        else:
            high = middle
    return float(f"{np.exp(low):.3g}")


def open_share(student_scores: Sequence[Floats], bound: float) -> float:
    """Return the part of the steps at which a word with this bound is open, if it is alone."""
    opened = 0
    for scores in student_scores:
        opened += int(OpenSteps([bound], [1]).push(scores).sum())
    return opened / sum(map(len, student_scores))


class Pair:
    """Scores of one word without and with a first stage, each with its second opinion.

    Not safe for use by several threads.
    """

    def __init__(self, catalogue: Catalogue, word: Model, first_stage: Model) -> None:
        """Load the networks.

        Args:
            catalogue: has the embedding networks, and the second network of the word, if it has
                one.
            word: the wake word.
            first_stage: knows the word.
        """
        networks = catalogue.embedding(), catalogue.long_embedding()
        opinions = catalogue.second_opinions([word])
        self._models = (
            build_batch([word], *networks, opinions=opinions),
            build_batch([word], *networks, first_stage=first_stage, opinions=opinions),
        )
        threshold = word.manifest.threshold or DEFAULT_THRESHOLD
        self._rule = Rule(threshold)
        self._word = word.name

    def wakes(self, samples: Samples) -> tuple[bool, bool]:
        """Return whether a recording wakes without the first stage, and with it."""
        without, with_it = (self._wakes(score_recording(model, samples)) for model in self._models)
        return without, with_it

    def _wakes(self, scores: Floats) -> bool:
        trigger = Trigger(self._word, self._rule)
        events = [
            trigger.push(value, (step + 1) * FRAME_SAMPLES)
            for step, value in enumerate(np.nan_to_num(scores[:, 0]).tolist())
        ]
        return any(isinstance(event, Wake) for event in events)
