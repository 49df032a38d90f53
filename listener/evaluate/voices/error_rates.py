"""Error rates of speaker verification and of open-set identification, with intervals. Pure.

Trials of one speaker resemble each other, so intervals are a bootstrap over speakers. For rates of
one voice each (refusals, guests) it is that of ``metrics/intervals.py``. A comparison of two
speakers depends on both, so for the equal error rate each resample draws speakers, and a comparison
counts as often as both of them were drawn (Bolle, Ratha and Pankanti, "Error analysis of pattern
recognition systems: the subsets bootstrap", 2004).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.evaluate.metrics.intervals import CONFIDENCE, PER_WORD, Rate, bootstrap, wilson
from listener.voiceprint.scoring import DecisionReason, Embedding, EnrolledVoice, decide

PER_TRIAL: Final = "per trial"
RESAMPLES: Final = 1_000
"""Resamples of the bootstrap of an equal error rate."""
MOST_HOUSEHOLDS: Final = 100
"""Households of one size that are drawn."""
FEWEST_GUESTS: Final = 2
"""Fewest speakers that must be left as guests of a household."""

Scores = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreMatrix:
    """Similarity of each trial to each enrolled voice.

    Speakers are counted from 0, those with an enrolled voice first: speaker i is column i.
    """

    scores: Scores
    """Cosines, shape (trials, voices), -1 to 1."""
    speakers: Indices
    """Speaker of the trial, shape (trials,); from the number of voices on, a guest."""

    @property
    def owners(self) -> Indices:
        """Speakers of the trials with an own voice, shape (own trials,)."""
        found: Indices = self.speakers[self.speakers < self.scores.shape[1]]
        return found

    @property
    def own(self) -> Scores:
        """Scores of the trials against their own voices, shape (own trials,)."""
        has_voice = self.speakers < self.scores.shape[1]
        scores: Scores = self.scores[has_voice, self.speakers[has_voice]]
        return scores

    @property
    def is_stranger(self) -> NDArray[np.bool_]:
        """Whether the voice is another speaker's, shape (trials, voices)."""
        differs: NDArray[np.bool_] = self.speakers[:, None] != np.arange(self.scores.shape[1])
        return differs

    @property
    def strangers(self) -> Scores:
        """Scores against the voices of other speakers, shape (comparisons,)."""
        return self.scores[self.is_stranger]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """False rejections and false acceptances at one threshold, as shares."""

    threshold: float
    refused: float
    accepted: float


@dataclass(frozen=True, slots=True)
class HouseholdRates:
    """Errors of open-set identification in households of one size."""

    wrong_owner: Rate
    """Trials of owners that another owner got."""
    guests_accepted: Rate
    """Trials of guests that an owner got."""
    owners_refused: Rate
    """Trials of owners that no owner got."""


def compare_all(trials: Sequence[Embedding], centroids: Sequence[Embedding]) -> ScoreMatrix:
    """Compare every trial of every speaker with every voice.

    Args:
        trials: embeddings of each speaker, shape (n, d), n may be 0, unit norm.
        centroids: the voices of the first speakers, shape (d,), unit norm.
    """
    voices = np.stack(centroids).astype(np.float64)
    speakers = np.repeat(np.arange(len(trials)), [len(each) for each in trials])
    vectors = np.concatenate(
        [np.asarray(each, np.float64).reshape(-1, voices.shape[1]) for each in trials]
    )
    return ScoreMatrix(vectors @ voices.T, speakers)


def curve(matrix: ScoreMatrix) -> tuple[OperatingPoint, ...]:
    """Return the operating points at which a rate changes, by rising threshold.

    Args:
        matrix: with at least one score of each kind.
    """
    thresholds, refused, accepted = _error_curve(matrix.own, matrix.strangers)
    changed = np.ones(len(thresholds), np.bool_)
    # Between two points of equal rates on both sides the curve is straight.
    same = (np.diff(refused) == 0, np.diff(accepted) == 0)
    changed[1:-1] = ~((same[0][:-1] & same[0][1:]) | (same[1][:-1] & same[1][1:]))
    return tuple(
        OperatingPoint(*map(float, point))
        for point in zip(thresholds[changed], refused[changed], accepted[changed], strict=True)
    )


def equal_error(
    own: Scores,
    strangers: Scores,
    own_weights: Scores | None = None,
    stranger_weights: Scores | None = None,
) -> tuple[float, float]:
    """Return the equal error rate, and its threshold.

    The rate is the mean of both errors where they differ least; thresholds are the scores.

    Args:
        own: scores of the same voice, at least one.
        strangers: scores of other voices, at least one.
        own_weights: weight of each; None: equal.
        stranger_weights: weight of each; None: equal.
    """
    thresholds, refused, accepted = _error_curve(own, strangers, own_weights, stranger_weights)
    at = int(np.abs(refused - accepted).argmin())
    return float(refused[at] + accepted[at]) / 2, float(thresholds[at])


def _error_curve(
    own: Scores,
    strangers: Scores,
    own_weights: Scores | None = None,
    stranger_weights: Scores | None = None,
) -> tuple[Scores, Scores, Scores]:
    """Return thresholds, the share of own scores below each, and of strangers' at or above it."""
    thresholds = np.unique(np.concatenate([own, strangers]))
    thresholds = np.append(thresholds, math.nextafter(float(thresholds[-1]), math.inf))
    below = _share_below(own, own_weights, thresholds)
    return thresholds, below, 1 - _share_below(strangers, stranger_weights, thresholds)


def _share_below(scores: Scores, weights: Scores | None, thresholds: Scores) -> Scores:
    order = np.argsort(scores, kind="stable")
    counts = np.ones(len(scores)) if weights is None else weights[order]
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    share: Scores = sums[np.searchsorted(scores[order], thresholds, side="left")] / sums[-1]
    return share


def measure_equal_error(matrix: ScoreMatrix, seed: int, confidence: float = CONFIDENCE) -> Rate:
    """Return the equal error rate with its interval.

    Without an error the bootstrap has no width, and the interval is Wilson's of the own trials.

    Args:
        matrix: with at least one score of each kind.
        seed: seed of the resampling.
        confidence: confidence of the interval, 0 to 1.
    """
    own, strangers, owners = matrix.own, matrix.strangers, matrix.owners
    value, _ = equal_error(own, strangers)
    trials = len(own)
    if value <= 0:
        return replace(wilson(0, trials, confidence), unit=PER_TRIAL)
    random = np.random.default_rng(seed)
    speakers = max(matrix.scores.shape[1], int(matrix.speakers.max()) + 1)
    rows, columns = np.nonzero(matrix.is_stranger)
    first = matrix.speakers[rows]
    values = []
    for _ in range(RESAMPLES):
        times = random.multinomial(speakers, np.full(speakers, 1 / speakers)).astype(np.float64)
        weights = times[first] * times[columns]
        # A resample of a single speaker has no strangers.
        if weights.any() and times[owners].any():
            values.append(equal_error(own, strangers, times[owners], weights)[0])
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail)).tolist()
    return Rate(value * trials, trials, value, low, high, confidence, "bootstrap", PER_TRIAL)


def measure_share(counts: Sequence[float], trials: Sequence[float], seed: int) -> Rate:
    """Return a share of trials with an interval over speakers.

    Args:
        counts: events of each speaker; not whole numbers where a trial takes part several times.
        trials: trials of each speaker.
        seed: seed of the resampling.

    Returns:
        With Wilson's interval over trials if the bootstrap over speakers has none: without an
        event, or with fewer than 5 speakers.
    """
    resampled = bootstrap(counts, trials, PER_WORD, seed)
    return replace(resampled or wilson(sum(counts), sum(trials)), unit=PER_TRIAL)


def find_threshold(strangers: Scores, accepted: float) -> float:
    """Return the lowest threshold at which at most this share of strangers is accepted.

    Args:
        strangers: scores of other voices, at least one.
        accepted: the share, 0 to below 1.
    """
    falling = np.sort(strangers)[::-1]
    return math.nextafter(float(falling[int(accepted * len(falling))]), math.inf)


def estimate_threshold(strangers: Scores, accepted: float) -> float:
    """Return the threshold above which a share of a normal distribution of strangers lies.

    A rare similarity cannot be counted among few speakers: the highest thousandth of the
    comparisons of six people are those of one pair. Mean and standard deviation use all
    comparisons (normalisation of scores by impostors assumes the same distribution: Auckenthaler,
    Carey and Lloyd-Thomas, "Score normalization for text-independent speaker verification systems",
    2000).

    Args:
        strangers: scores of other voices, at least one.
        accepted: the share, above 0 and below 1.
    """
    return float(strangers.mean() + NormalDist().inv_cdf(1 - accepted) * strangers.std())


def draw_households(speakers: int, size: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """Return the owners of households: all sets of speakers, or ``MOST_HOUSEHOLDS`` random ones.

    Args:
        speakers: number of speakers.
        size: owners of a household, at least 1 and at most ``speakers``.
        seed: seed of the choice.
    """
    if math.comb(speakers, size) <= MOST_HOUSEHOLDS:
        return tuple(itertools.combinations(range(speakers), size))
    random = np.random.default_rng(seed)
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < MOST_HOUSEHOLDS:
        drawn.add(tuple(sorted(random.choice(speakers, size, replace=False).tolist())))
    return tuple(sorted(drawn))


def count_missing(owners: int, size: int, guests: int = 0) -> int:
    """Return how many speakers a corpus lacks for households of one size with guests.

    Args:
        owners: speakers who can be enrolled.
        size: owners of a household.
        guests: speakers who can be guests only.
    """
    return max(0, size - owners, size + FEWEST_GUESTS - owners - guests)


def measure_households(
    trials: Sequence[Embedding],
    households: Sequence[Mapping[str, EnrolledVoice]],
    margin: float,
    seed: int,
) -> HouseholdRates:
    """Attribute every trial in every household, and count the errors.

    A trial counts once, with the mean of its outcomes in the households.

    Args:
        trials: embeddings of each speaker, shape (n, d).
        households: voices of each household, by the index of the speaker as text.
        margin: see ``listener.voiceprint.scoring.decide``.
        seed: seed of the resampling.
    """
    wrong, refused, accepted = (np.zeros(len(trials)) for _ in range(3))
    as_owner, as_guest = np.zeros(len(trials)), np.zeros(len(trials))
    for voices in households:
        for speaker, vectors in enumerate(trials):
            name = str(speaker)
            decisions = [decide(vector, voices, margin) for vector in vectors]
            given = [d.owner for d in decisions if d.reason is DecisionReason.ACCEPTED]
            if name in voices:
                as_owner[speaker] += 1
                wrong[speaker] += sum(owner != name for owner in given)
                refused[speaker] += len(decisions) - len(given)
            else:
                as_guest[speaker] += 1
                accepted[speaker] += len(given)
    counts = np.array([len(each) for each in trials])

    def share(events: Scores, times: Scores) -> Rate:
        each = np.where(times > 0, events / np.maximum(times, 1), 0.0)
        return measure_share(each.tolist(), np.where(times > 0, counts, 0).tolist(), seed)

    return HouseholdRates(
        share(wrong, as_owner), share(accepted, as_guest), share(refused, as_owner)
    )
