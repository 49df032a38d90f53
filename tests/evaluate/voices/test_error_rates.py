"""Error rates of synthetic scores and embeddings, against closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.voices.error_rates import (
    MOST_HOUSEHOLDS,
    PER_TRIAL,
    ScoreMatrix,
    compare_all,
    count_missing,
    curve,
    draw_households,
    equal_error,
    estimate_threshold,
    find_threshold,
    measure_equal_error,
    measure_households,
    measure_share,
)
from listener.voiceprint.scoring import EnrolledVoice

SEEDS = st.integers(0, 2**32 - 1)


def made_matrix(seed: int, speakers: int, trials: int, gap: float) -> ScoreMatrix:
    """Return normal scores whose means differ by ``gap`` standard deviations."""
    random = np.random.default_rng(seed)
    own = np.repeat(np.arange(speakers), trials)
    scores = random.normal(size=(len(own), speakers))
    scores[np.arange(len(own)), own] += gap
    return ScoreMatrix(scores, own)


def known(rate: Rate) -> tuple[float, float, float]:
    assert rate.value is not None
    assert rate.low is not None
    assert rate.high is not None
    return rate.low, rate.value, rate.high


def test_equal_error_of_normal_scores_is_that_of_their_distance() -> None:
    """Two unit normals at a distance d cross at d/2: the rate is the tail beyond it."""
    matrix = made_matrix(1, 20, 500, 3.0)

    rate, threshold = equal_error(matrix.own, matrix.strangers)

    assert rate == pytest.approx(stats.norm.sf(1.5), abs=0.005)
    assert threshold == pytest.approx(1.5, abs=0.05)


@given(SEEDS, st.integers(2, 5), st.integers(1, 6), st.floats(-1, 4))
def test_equal_error_is_the_least_difference_over_all_thresholds(
    seed: int, speakers: int, trials: int, gap: float
) -> None:
    matrix = made_matrix(seed, speakers, trials, gap)
    own, strangers = matrix.own, matrix.strangers
    every = [
        (abs((own < t).mean() - (strangers >= t).mean()), (own < t).mean(), (strangers >= t).mean())
        for t in [*own, *strangers, max(own.max(), strangers.max()) + 1]
    ]

    rate, threshold = equal_error(own, strangers)

    refused, accepted = (own < threshold).mean(), (strangers >= threshold).mean()
    assert abs(refused - accepted) == pytest.approx(min(every)[0], abs=1e-12)
    assert rate == pytest.approx((refused + accepted) / 2)


@given(SEEDS, st.integers(1, 4))
def test_weights_count_a_score_as_often(seed: int, times: int) -> None:
    matrix = made_matrix(seed, 3, 4, 1.0)
    own, strangers = matrix.own, matrix.strangers

    weighted = equal_error(
        own, strangers, np.full(len(own), float(times)), np.full(len(strangers), 2.0)
    )

    assert weighted == pytest.approx(equal_error(own, strangers))
    doubled = equal_error(np.repeat(own, 2), np.concatenate([strangers, strangers[:3]]))
    weights = np.ones(len(strangers))
    weights[:3] = 2
    assert equal_error(own, strangers, np.full(len(own), 2.0), weights) == pytest.approx(doubled)


@given(SEEDS, st.floats(0, 3))
def test_equal_error_does_not_depend_on_the_scale_of_the_scores(seed: int, gap: float) -> None:
    matrix = made_matrix(seed, 4, 5, gap)

    scaled, _ = equal_error(np.exp(matrix.own), np.exp(matrix.strangers))

    assert scaled == pytest.approx(equal_error(matrix.own, matrix.strangers)[0])


@given(SEEDS, st.integers(2, 5), st.integers(1, 6), st.floats(-1, 4))
def test_curve_is_monotone_and_ends_at_all_and_nothing(
    seed: int, speakers: int, trials: int, gap: float
) -> None:
    matrix = made_matrix(seed, speakers, trials, gap)
    points = curve(matrix)

    assert (points[0].refused, points[-1].refused) == (0, 1)
    assert (points[0].accepted, points[-1].accepted) == (1, 0)
    for before, after in itertools.pairwise(points):
        assert before.threshold < after.threshold
        assert before.refused <= after.refused
        assert before.accepted >= after.accepted
    for point in points:
        assert point.refused == pytest.approx((matrix.own < point.threshold).mean())
        assert point.accepted == pytest.approx((matrix.strangers >= point.threshold).mean())


@given(SEEDS, st.floats(0, 0.5))
def test_threshold_for_a_rate_is_the_lowest_that_holds_it(seed: int, share: float) -> None:
    strangers = np.random.default_rng(seed).normal(size=200)

    threshold = find_threshold(strangers, share)

    assert (strangers >= threshold).mean() <= share
    lower = strangers[strangers < threshold].max()
    assert (strangers >= lower).mean() > share


@given(SEEDS, st.sampled_from([0.001, 0.01, 0.1]))
def test_estimated_threshold_is_that_of_a_normal_distribution(seed: int, share: float) -> None:
    strangers = np.random.default_rng(seed).normal(0.1, 0.12, size=20_000)

    threshold = estimate_threshold(strangers, share)

    assert threshold == pytest.approx(stats.norm.isf(share, 0.1, 0.12), abs=0.01)


def test_one_pair_of_similar_voices_does_not_choose_the_estimated_threshold() -> None:
    """One of 30 pairs resembles each other: the highest thousandth are comparisons of it alone."""
    random = np.random.default_rng(1)
    strangers = random.normal(0.1, 0.1, size=(30, 120))
    without = estimate_threshold(strangers.ravel(), 0.001)
    strangers[0] += 0.35

    threshold = estimate_threshold(strangers.ravel(), 0.001)

    assert find_threshold(strangers.ravel(), 0.001) > without + 0.15
    assert without < threshold < without + 0.1


def test_trials_of_guests_are_strangers_alone() -> None:
    """Two speakers are enrolled, and the third is not."""
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.4], [0.5, 0.0]])
    matrix = ScoreMatrix(scores, np.array([0, 1, 2, 2]))

    assert matrix.own.tolist() == [0.9, 0.8]
    assert matrix.owners.tolist() == [0, 1]
    assert matrix.strangers.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.0]
    assert known(measure_equal_error(matrix, 1))[1] == 0
    matrix.scores[2, 0] = 0.85
    low, value, high = known(measure_equal_error(matrix, 1))
    assert 0 <= low <= value <= high
    assert value > 0


def test_no_error_has_the_interval_of_its_trials() -> None:
    matrix = made_matrix(1, 6, 30, 50.0)

    rate = measure_equal_error(matrix, 1)

    low, value, high = known(rate)
    assert (low, value) == (0, 0)
    assert high == pytest.approx(stats.binomtest(0, 180).proportion_ci(method="wilson").high)
    assert (rate.method, rate.unit) == ("wilson", PER_TRIAL)


def test_interval_of_an_equal_error_covers_the_spread_of_speakers() -> None:
    """One speaker of ten is unlike their own voice: the interval is wider than that of trials."""
    matrix = made_matrix(1, 10, 30, 6.0)
    matrix.scores[matrix.speakers == 3, 3] -= 6

    rate = measure_equal_error(matrix, 1)

    low, value, high = known(rate)
    assert rate.method == "bootstrap"
    assert low <= value <= high
    trials = stats.binomtest(round(value * 300), 300).proportion_ci(method="wilson")
    assert high - low > trials.high - trials.low
    assert measure_equal_error(matrix, 1) == rate


@given(SEEDS, st.integers(2, 4))
def test_compare_all_gives_the_cosine_of_each_pair(seed: int, speakers: int) -> None:
    random = np.random.default_rng(seed)

    def unit(count: int) -> NDArray[np.float32]:
        vectors = random.normal(size=(count, 5))
        scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return scaled.astype(np.float32)

    counts = random.integers(0, 4, speakers).tolist()
    trials = [unit(count) if count else np.zeros((0, 1), np.float32) for count in counts]
    voices = list(unit(speakers))

    matrix = compare_all(trials, voices)

    assert matrix.scores.shape == (sum(counts), speakers)
    assert np.bincount(matrix.speakers, minlength=speakers).tolist() == counts
    assert len(matrix.own) + len(matrix.strangers) == matrix.scores.size
    at = 0
    for vectors in trials:
        for vector in vectors:
            expected = [float(vector @ voice) for voice in voices]
            assert matrix.scores[at] == pytest.approx(expected, abs=1e-6)
            at += 1


# --- households


def test_share_without_an_event_has_wilsons_interval() -> None:
    rate = measure_share([0, 0, 0, 0, 0], [30, 30, 30, 30, 30], 1)

    assert (rate.method, rate.value, rate.unit) == ("wilson", 0, PER_TRIAL)
    assert measure_share([3, 0, 1, 0, 2], [30] * 5, 1).method == "bootstrap"
    assert measure_share([3, 0, 1], [30] * 3, 1).method == "wilson"


@given(st.integers(1, 12), st.integers(1, 12), SEEDS)
def test_households_are_distinct_sets_of_speakers(speakers: int, size: int, seed: int) -> None:
    size = min(size, speakers)
    households = draw_households(speakers, size, seed)

    assert len(set(households)) == len(households)
    assert len(households) == min(math.comb(speakers, size), MOST_HOUSEHOLDS)
    for members in households:
        assert len(set(members)) == size
        assert set(members) <= set(range(speakers))
    assert draw_households(speakers, size, seed) == households


@pytest.mark.parametrize(
    ("owners", "guests", "size", "missing"),
    [(6, 0, 4, 0), (6, 0, 8, 4), (3, 0, 2, 1), (4, 2, 4, 0), (4, 1, 4, 1), (3, 9, 4, 1)],
)
def test_missing_speakers_of_a_household(owners: int, guests: int, size: int, missing: int) -> None:
    assert count_missing(owners, size, guests) == missing


def test_household_errors_are_counted_by_kind() -> None:
    """Of three speakers two are enrolled; the third sounds like the first."""
    first, second, guest = np.eye(3, dtype=np.float32)
    voices = {"0": EnrolledVoice(first, 0.5), "1": EnrolledVoice(second, 0.5)}
    trials = [
        np.stack([first, second, guest, first]),  # right, wrong owner, refused, right
        np.stack([second, second]),
        np.stack([first, guest]),  # a guest who is accepted, and one who is not
    ]

    rates = measure_households(trials, [voices], 0.05, 1)

    assert rates.wrong_owner.value == pytest.approx(1 / 6)
    assert rates.owners_refused.value == pytest.approx(1 / 6)
    assert rates.guests_accepted.value == pytest.approx(1 / 2)
    assert rates.wrong_owner.exposure == 6
    assert rates.guests_accepted.exposure == 2


def test_trial_counts_once_with_the_mean_of_its_households() -> None:
    first, second, _ = np.eye(3, dtype=np.float32)
    trials = [first[None], second[None], first[None]]
    both = [
        {"0": EnrolledVoice(first, 0.5)},  # accepts the guest 2
        {"1": EnrolledVoice(second, 0.5)},  # refuses the guests 0 and 2
    ]

    rates = measure_households(trials, both, 0.05, 1)

    # The trial of 2 is a guest twice and accepted once; 0 and 1 are guests once and refused.
    assert rates.guests_accepted.exposure == 3
    assert rates.guests_accepted.count == pytest.approx(0.5)
    assert rates.wrong_owner.value == 0


@given(SEEDS)
def test_higher_thresholds_never_accept_more_guests(seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(4, 3, 6))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    trials = list(vectors.astype(np.float32))

    def accepted(threshold: float) -> float:
        voices = {str(at): EnrolledVoice(trials[at][0], threshold) for at in (0, 1)}
        return measure_households(trials, [voices], 0.05, 1).guests_accepted.value or 0.0

    assert accepted(0.6) <= accepted(0.3)
