"""Comparison of speaker embeddings with enrolled voices: similarity, decision, calibration. Pure.

The similarity is the cosine of an embedding and the centroid of an owner's enrolment (Variani et
al., "Deep neural networks for small footprint text-dependent speaker verification", ICASSP 2014).
The decision is open-set identification: the most similar owner, or no owner if the similarity is
below the threshold, or if a second owner is about as similar (the margin). A cohort is a set of
background voices of other people: the threshold of an owner rises until it lies above the voices
that resemble the owner's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]
"""One embedding, shape (d,), unit norm; or several, shape (n, d)."""

DEFAULT_THRESHOLD: Final = 0.44
"""Least similarity of an owner, -1 to 1."""
DEFAULT_DROP: Final = 0.36
"""Drop of the similarity to one's own voiceprint that noise, rooms and other days may cause."""
DEFAULT_MARGIN: Final = 0.05
"""Least difference of the similarities of the first and the second owner."""

_CONFIDENCE: Final = 0.95
_MIN_NORM: Final = 1e-6


class DecisionReason(StrEnum):
    """Reason for a decision."""

    ACCEPTED = "accepted"
    """One owner is similar enough, and no second one about as similar."""
    GUEST = "guest"
    """No owner is similar enough."""
    UNSURE = "unsure"
    """Two owners are about as similar."""


@dataclass(frozen=True, slots=True)
class EnrolledVoice:
    """The voice of an owner, as it is compared."""

    centroid: Embedding
    """Centroid of the enrolment, shape (d,), unit norm."""
    threshold: float
    """Least similarity at which speech is attributed to this owner."""


@dataclass(frozen=True, slots=True)
class VoiceDecision:
    """The owner of a stretch of speech, or the reason why there is none."""

    owner: str | None
    similarity: float
    """Similarity to the most similar owner, -1 to 1; -1 if no voice is enrolled."""
    reason: DecisionReason


@dataclass(frozen=True, slots=True)
class ExpectedRate:
    """A proportion with its score interval (Wilson 1927)."""

    count: float
    """Events; not a whole number where a trial is the mean of several comparisons."""
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The proportion; 0 without trials."""
        return self.count / self.trials if self.trials else 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold of an owner, and the errors that are expected at it."""

    threshold: float
    refused: ExpectedRate
    """Recordings of the owner that would be refused, each compared with the others; a recording
    with copies counts by the share of them."""
    wrong: ExpectedRate
    """Voices of the cohort and of other owners that would be accepted."""


def make_centroid(embeddings: Embedding) -> Embedding:
    """Return the mean direction of embeddings.

    Args:
        embeddings: float32, shape (n, d), n at least 1; each is scaled to unit norm first.

    Returns:
        float32, shape (d,), unit norm.

    Raises:
        ValueError: there are none, one is zero or not finite, or they cancel each other.
    """
    return _unit(_unit_rows(_matrix(embeddings)).mean(axis=0))


def similarity(first: Embedding, second: Embedding) -> float:
    """Return the cosine of two embeddings, -1 to 1.

    Args:
        first: shape (d,), unit norm.
        second: shape (d,), unit norm.
    """
    return float(np.clip(np.dot(first.astype(np.float64), second.astype(np.float64)), -1.0, 1.0))


def decide(
    embedding: Embedding, voices: Mapping[str, EnrolledVoice], margin: float = DEFAULT_MARGIN
) -> VoiceDecision:
    """Attribute an embedding to one of several enrolled owners, or to none.

    The order of ``voices`` does not change the decision, and more voices never turn a refusal into
    an acceptance of a less similar one.

    Args:
        embedding: shape (d,), unit norm.
        voices: enrolled voices by owner.
        margin: least difference of the similarities of the most similar owner and the second.
    """
    ranked = sorted(
        ((similarity(embedding, voice.centroid), name) for name, voice in voices.items()),
        key=lambda pair: (-pair[0], pair[1]),
    )
    if not ranked:
        return VoiceDecision(None, -1.0, DecisionReason.GUEST)
    best, owner = ranked[0]
    if not best >= voices[owner].threshold:
        return VoiceDecision(None, best, DecisionReason.GUEST)
    if len(ranked) > 1 and not best - ranked[1][0] >= margin:
        return VoiceDecision(None, best, DecisionReason.UNSURE)
    return VoiceDecision(owner, best, DecisionReason.ACCEPTED)


def calibrate_threshold(
    recordings: Sequence[Embedding],
    cohort: Embedding,
    others: Embedding | None = None,
    *,
    least: float = DEFAULT_THRESHOLD,
    drop: float = DEFAULT_DROP,
) -> Calibration:
    """Return the threshold of an owner, as high as their own speech allows.

    It is the highest of three: the threshold from other speakers; the similarity that the owner's
    recordings have to each other, less the drop that other days, noise and rooms may take from it;
    and the similarity of the background voice or the other owner that resembles the owner most.

    Args:
        recordings: embeddings of each enrolment recording, shape (k, d): of the recording itself,
            then of its copies with noise and in rooms, if there are any. With a single recording
            nothing is known about how similar the owner's recordings are.
        cohort: embeddings of background voices, shape (m, d), m may be 0.
        others: centroids of the other owners of the household, shape (n, d).
        least: threshold from other speakers, -1 to 1.
        drop: the drop, 0 to 2.

    Raises:
        ValueError: there is no recording, a shape is wrong, or an embedding is zero or not finite.
    """
    own = [_unit_rows(_matrix(recording)) for recording in recordings]
    if not own:
        raise ValueError("there is no recording, and so no embedding")
    centroid = _unit(np.mean([vector for each in own for vector in each], axis=0))
    background = np.concatenate(
        [
            _unit_rows(np.asarray(group, np.float64).reshape(-1, len(centroid)))
            for group in (cohort, others)
            if group is not None and len(group)
        ]
        or [np.zeros((0, len(centroid)))]
    )
    left_out = _leave_out(own)
    threshold = least
    if left_out:
        threshold = max(threshold, _typical(left_out) - drop)
    nearest = background @ centroid
    if len(nearest):
        # The next number: a voice is accepted at its threshold.
        threshold = max(threshold, math.nextafter(float(nearest.max()), math.inf))
    refused = sum(float((each < threshold).mean()) for each in left_out)
    return Calibration(
        threshold,
        _expected(refused, len(left_out)),
        _expected(int((nearest >= threshold).sum()), len(nearest)),
    )


def measure_consistency(recordings: Sequence[Embedding]) -> float | None:
    """Return how similar the recordings of an enrolment are to each other.

    Args:
        recordings: as of ``calibrate_threshold``.

    Returns:
        Median of the similarity of a recording to the centroid of the others, -1 to 1; None of a
        single recording.

    Raises:
        ValueError: there is no recording, a shape is wrong, or an embedding is zero or not finite.
    """
    left_out = _leave_out([_unit_rows(_matrix(recording)) for recording in recordings])
    return _typical(left_out) if left_out else None


def score_interval(
    count: float, trials: float, confidence: float = _CONFIDENCE
) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927).

    Args:
        count: number of events, 0 to ``trials``.
        trials: number of trials; without any the interval is 0 to 1.
        confidence: confidence of the interval, 0 to 1.
    """
    if trials <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    half /= 1 + z * z / trials
    # Without an event the lower end is exactly 0, and with only events the upper end exactly 1.
    low = 0.0 if count <= 0 else max(middle - half, 0.0)
    high = 1.0 if count >= trials else min(middle + half, 1.0)
    return low, high


def _leave_out(own: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the similarities of each recording and its copies to the centroid of the others."""
    if len(own) < 2:  # noqa: PLR2004 - a single recording has no others
        return []
    return [
        each @ _unit(np.concatenate([*own[:index], *own[index + 1 :]]).mean(axis=0))
        for index, each in enumerate(own)
    ]


def _typical(left_out: Sequence[NDArray[np.float64]]) -> float:
    return float(np.median([each[0] for each in left_out]))


def _expected(count: float, trials: int) -> ExpectedRate:
    return ExpectedRate(count, trials, *score_interval(count, trials))


def _matrix(embeddings: Embedding) -> NDArray[np.float64]:
    vectors = np.asarray(embeddings, np.float64)
    if vectors.ndim != 2 or not len(vectors):  # noqa: PLR2004 - a matrix
        raise ValueError("embeddings must have the shape (n, d), n at least 1")
    return vectors


def _unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(vectors).all() or (norms < _MIN_NORM).any():
        raise ValueError("an embedding is zero or not finite")
    rows: NDArray[np.float64] = vectors / norms
    return rows


def _unit(vector: NDArray[np.float64]) -> Embedding:
    norm = float(np.linalg.norm(vector))
    if not norm >= _MIN_NORM:
        raise ValueError("the embeddings cancel each other")
    return (vector / norm).astype(np.float32)
