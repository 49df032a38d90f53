"""Enrolment of a voice: the check of each recording, and the voiceprint of several. Pure.

A recording is refused when it is clipped, too quiet, too noisy or too short, or holds another voice
than the recordings before it. Of those that are accepted only embeddings are kept, of the speech
itself and of copies of it with noise and in a room; their mean is the voiceprint.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from listener.audio.clip import SpeechModel
from listener.audio.level import CLIPPED_FROM, SILENCE_DBFS, LevelMeter, level_dbfs
from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError
from listener.voiceprint.scoring import (
    Calibration,
    Embedding,
    ExpectedRate,
    calibrate_threshold,
    make_centroid,
    similarity,
)
from listener.voiceprint.simulated_conditions import simulate_conditions
from listener.voiceprint.speech import (
    MAX_SPEECH_SAMPLES,
    MIN_SPEECH_SAMPLES,
    find_loudest,
    select_speech,
)

SENTENCES: Final = 10
"""Recordings that an enrolment at the microphone asks for."""
FEWEST_SENTENCES: Final = 5
"""Fewest recordings of which a voiceprint is made."""
FAINTEST_DBFS: Final = -60.0
"""Level of speech below which it is too quiet."""
LEAST_SIGNAL_TO_NOISE_DB: Final = 10.0
"""Level of speech above the noise floor below which it is too noisy."""
MOST_CLIPPED_SHARE: Final = 0.001
"""Share of clipped samples above which a recording is too loud."""
SAME_VOICE: Final = 0.5
"""Similarity to the other recordings below which one holds another voice."""
SAME_PERSON: Final = 0.7
"""Similarity of two voiceprints from which they are of one person."""
MOST_REFUSED: Final = 0.5
"""Expected share of refused speech above which no voiceprint is made."""

_STEP_SAMPLES: Final = 512
"""Step of Silero's voice activity detector at 16 kHz."""

Embed = Callable[[Samples], Embedding]
"""Returns the embedding, shape (d,), unit norm, of speech of 1.5 to 3 s."""


class RecordingProblem(StrEnum):
    """Reason for which a recording is not used."""

    SHORT = "short"
    """Too little speech."""
    CLIPPED = "clipped"
    """Too loud for the converter."""
    QUIET = "quiet"
    """Too quiet."""
    NOISY = "noisy"
    """Too little above the noise."""
    OTHER_VOICE = "other-voice"
    """Another voice than that of the other recordings."""


@dataclass(frozen=True, slots=True)
class RecordingLevels:
    """Levels of a recording, and the problem that they show."""

    level_dbfs: float
    """Level of the speech."""
    noise_dbfs: float
    """Noise floor of the whole recording."""
    speech_s: float
    """Length of the speech, in seconds."""
    problem: RecordingProblem | None


@dataclass(frozen=True, slots=True)
class EnrolmentSentence:
    """What is kept of one stretch of speech: embeddings only."""

    embeddings: Embedding
    """Shape (1 + c, d): of the speech, then of its copies with noise and in a room."""
    speech_s: float
    """Length of the speech that was embedded, in seconds."""


@dataclass(frozen=True, slots=True)
class EnrolledCentroid:
    """The result of an enrolment."""

    centroid: Embedding
    """Shape (d,), unit norm."""
    calibration: Calibration
    """Threshold, and voices of the cohort and of other owners that it accepts."""
    refused: ExpectedRate
    """Recordings that the voiceprint of the other recordings refuses, with and without noise."""
    sentences: int
    speech_s: float
    """Length of the speech, in seconds."""


class EnrolmentRefused(EarmarkError):
    """Recordings of which no voiceprint can be made."""


def detect_speech(samples: Samples, model: SpeechModel) -> Samples:
    """Return the speech of a recording, joined.

    Args:
        samples: int16, shape (n,), 16 kHz.
        model: voice activity detector; it is reset before and afterwards.

    Returns:
        A copy, int16, shape (m,), m at most n.
    """
    model.reset()
    starts = range(0, len(samples) - _STEP_SAMPLES + 1, _STEP_SAMPLES)
    probabilities = [model.probability(samples[at : at + _STEP_SAMPLES]) for at in starts]
    model.reset()
    return select_speech(samples, probabilities, _STEP_SAMPLES)


def assess_recording(
    samples: Samples, speech: Samples, least_samples: int = MIN_SPEECH_SAMPLES
) -> RecordingLevels:
    """Return the levels of a recording, and the first problem that they show.

    Args:
        samples: the whole recording, int16, shape (n,).
        speech: the speech in it, int16, shape (m,).
        least_samples: speech of fewer samples is too short.
    """
    meter = LevelMeter()
    for at in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        meter.push(samples[at : at + FRAME_SAMPLES])
    level = level_dbfs(speech) if len(speech) else SILENCE_DBFS
    clipped = int(np.count_nonzero(np.abs(speech.astype(np.int32)) >= CLIPPED_FROM))
    problem = None
    if len(speech) < least_samples:
        problem = RecordingProblem.SHORT
    elif clipped > MOST_CLIPPED_SHARE * len(speech):
        problem = RecordingProblem.CLIPPED
    elif level < FAINTEST_DBFS:
        problem = RecordingProblem.QUIET
    elif level - meter.floor_dbfs < LEAST_SIGNAL_TO_NOISE_DB:
        problem = RecordingProblem.NOISY
    return RecordingLevels(level, meter.floor_dbfs, len(speech) / SAMPLE_RATE_HZ, problem)


def embed_sentence(speech: Samples, embed: Embed, seed: int) -> EnrolmentSentence:
    """Embed speech and its copies with noise and in a room.

    Args:
        speech: int16, shape (n,), n at least ``MIN_SPEECH_SAMPLES``; of more than 3 s the loudest
            3 s are used.
        embed: the speaker embedding.
        seed: of the noise and the room.
    """
    loudest = find_loudest(speech)
    copies = (loudest, *simulate_conditions(loudest, seed))
    embeddings = np.stack([embed(copy) for copy in copies])
    for copy in copies[1:]:
        copy.fill(0)
    return EnrolmentSentence(embeddings, len(loudest) / SAMPLE_RATE_HZ)


def split_speech(speech: Samples) -> tuple[Samples, ...]:
    """Cut the speech of a long recording into stretches of one sentence each.

    Args:
        speech: int16, shape (n,).

    Returns:
        Views of 1.5 to 3 s each, in order; none if there is less.
    """
    starts = range(0, len(speech), MAX_SPEECH_SAMPLES)
    parts = (speech[at : at + MAX_SPEECH_SAMPLES] for at in starts)
    return tuple(part for part in parts if len(part) >= MIN_SPEECH_SAMPLES)


def is_same_voice(embedding: Embedding, others: Sequence[Embedding]) -> bool:
    """Return whether a recording holds the voice of the recordings before it.

    Args:
        embedding: of the recording's speech, shape (d,), unit norm.
        others: those of the recordings before it; without any the voice is the same.
    """
    if not others:
        return True
    return similarity(embedding, make_centroid(np.stack(list(others)))) >= SAME_VOICE


def find_other_voices(embeddings: Sequence[Embedding]) -> tuple[int, ...]:
    """Return the recordings whose voice is not that of most of the others, by their index.

    Args:
        embeddings: of each recording's speech, shape (d,), unit norm.
    """
    if len(embeddings) < 2:  # noqa: PLR2004 - one recording has no others
        return ()
    vectors = np.stack(list(embeddings)).astype(np.float64)
    similarities = vectors @ vectors.T
    others = ~np.eye(len(vectors), dtype=np.bool_)
    medians = np.median(similarities[others].reshape(len(vectors), -1), axis=1)
    return tuple(np.flatnonzero(medians < SAME_VOICE).tolist())


def complete_enrolment(
    sentences: Sequence[EnrolmentSentence],
    cohort: Embedding,
    others: Mapping[str, Embedding],
    *,
    least: float,
) -> EnrolledCentroid:
    """Make the voiceprint of several recordings, and calibrate its threshold.

    Args:
        sentences: the accepted recordings.
        cohort: embeddings of background voices, shape (m, d).
        others: centroids of the other owners of this speaker, shape (d,), by owner.
        least: threshold below which no owner's threshold lies, -1 to 1.

    Raises:
        EnrolmentRefused: there are fewer than ``FEWEST_SENTENCES``, the voice is another owner's,
            or at this threshold most of the owner's own speech would be refused.
    """
    if len(sentences) < FEWEST_SENTENCES:
        raise EnrolmentRefused(
            f"an enrolment needs {FEWEST_SENTENCES} recordings with at least"
            f" {MIN_SPEECH_SAMPLES / SAMPLE_RATE_HZ} s of speech each, and there are"
            f" {len(sentences)}",
            "record more sentences",
        )
    whole = np.concatenate([one.embeddings for one in sentences])
    centroid = make_centroid(whole)
    check_other_person(centroid, others)
    known = np.stack(list(others.values())) if others else None
    recordings = [one.embeddings for one in sentences]
    calibration = calibrate_threshold(recordings, cohort, known, least=least)
    refused = calibration.refused
    if refused.value > MOST_REFUSED:
        raise EnrolmentRefused(
            f"at the threshold {calibration.threshold:.2f}, which keeps other voices out,"
            f" {100 * refused.value:.0f} % of these recordings would be refused",
            "record again in a quiet room, near the microphone; two people whose voices are this"
            " similar cannot share a speaker in a voice mode",
        )
    return EnrolledCentroid(
        centroid,
        calibration,
        refused,
        len(sentences),
        sum(one.speech_s for one in sentences),
    )


def check_other_person(centroid: Embedding, others: Mapping[str, Embedding]) -> None:
    """Check that a voiceprint is not of a person who is enrolled under another name.

    Args:
        centroid: shape (d,), unit norm.
        others: centroids of the other owners, shape (d,), by owner.

    Raises:
        EnrolmentRefused: it is.
    """
    for name, other in others.items():
        if similarity(centroid, other) >= SAME_PERSON:
            raise EnrolmentRefused(
                f"this is the voice of {name}, who has a voiceprint on this speaker",
                "check whose recordings these are; if the voiceprint is the wrong one: earmark"
                f" owner voiceprint erase {name}",
            )
