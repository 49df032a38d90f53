"""Intervals against closed forms, published tables, and what they must cover."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from listener.evaluate.metrics.intervals import (
    PER_HOUR,
    PER_WORD,
    Rate,
    bootstrap,
    clopper_pearson,
    hours_needed,
    mcnemar,
    poisson,
    rate_ratio,
    wilson,
)


def ends(rate: Rate | None) -> tuple[float, float]:
    assert rate is not None
    assert rate.low is not None
    assert rate.high is not None
    return rate.low, rate.high


@pytest.mark.parametrize(
    ("count", "trials", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I: score method.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_matches_newcombe_table(
    count: int, trials: int, low: float, high: float
) -> None:
    assert ends(wilson(count, trials)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "trials", "low", "high"),
    [
        # The same table: exact method.
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_interval_matches_newcombe_table(
    count: int, trials: int, low: float, high: float
) -> None:
    assert ends(clopper_pearson(count, trials)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [
        # Garwood 1936: 95 % limits of the expectation of a Poisson variable.
        (0, 0.0, 3.689),
        (1, 0.0253, 5.572),
        (2, 0.242, 7.225),
        (3, 0.619, 8.767),
        (5, 1.623, 11.668),
        (10, 4.795, 18.390),
        (50, 37.111, 65.919),
    ],
)
def test_poisson_interval_matches_garwood_table(count: int, low: float, high: float) -> None:
    assert ends(poisson(count, 1.0)) == pytest.approx((low, high), abs=6e-4)
    assert ends(poisson(count, 4.0)) == pytest.approx((low / 4, high / 4), abs=6e-4)


@given(st.integers(0, 400), st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_proportion_intervals_match_scipy(count: int, trials: int, confidence: float) -> None:
    count = min(count, trials)
    test = stats.binomtest(count, trials)

    score = test.proportion_ci(confidence, "wilson")
    exact = test.proportion_ci(confidence, "exact")

    assert ends(wilson(count, trials, confidence)) == pytest.approx(
        (score.low, score.high), abs=1e-9
    )
    assert ends(clopper_pearson(count, trials, confidence)) == pytest.approx(
        (exact.low, exact.high), abs=1e-9
    )


@given(st.integers(0, 1000), st.floats(0.01, 1e4))
def test_poisson_interval_matches_chi_square_quantiles(count: int, hours: float) -> None:
    low, high = ends(poisson(count, hours))

    assert high == pytest.approx(stats.chi2.ppf(0.975, 2 * count + 2) / 2 / hours)
    assert low == pytest.approx(stats.chi2.ppf(0.025, 2 * count) / 2 / hours if count else 0.0)


@given(st.integers(0, 400), st.integers(1, 50))
def test_rate_lies_in_its_interval_for_fractional_counts(eighths: int, exposure: int) -> None:
    count = eighths / 8
    rates = [poisson(count, exposure)]
    if count <= exposure:
        rates += [wilson(count, exposure), clopper_pearson(count, exposure)]

    for rate in rates:
        low, high = ends(rate)
        assert rate.value is not None
        assert low - 1e-12 <= rate.value <= high + 1e-12


@pytest.mark.parametrize("rate", [wilson(0, 0), clopper_pearson(0, 0), poisson(2, 0)])
def test_zero_exposure_has_no_rate(rate: Rate) -> None:
    assert (rate.value, rate.low, rate.high) == (None, None, None)


@pytest.mark.parametrize(
    ("count", "below_half", "below_tenth"),
    [(0, 6.0, 30), (1, 9.5, 47), (2, 12.6, 63), (3, 15.5, 78), (5, 21.0, 105), (10, 33.9, 170)],
)
def test_hours_needed_match_the_rule_of_three(
    count: int, below_half: float, below_tenth: float
) -> None:
    assert hours_needed(count, 0.5) == pytest.approx(below_half, abs=0.05)
    assert hours_needed(count, 0.1) == pytest.approx(below_tenth, abs=0.5)
    assert hours_needed(0, 1.0) == pytest.approx(-math.log(0.05))


def test_few_hours_support_only_a_weak_claim() -> None:
    # What most published figures rest on.
    claim = -math.log(0.05) / 5.5

    assert claim == pytest.approx(0.545, abs=5e-4)
    assert hours_needed(0, claim) == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 0.021484), (0, 10, 0.001953)]
)
def test_mcnemar_is_the_sign_test_of_discordant_pairs(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p, abs=1e-6)
    assert mcnemar(second, first) == mcnemar(first, second)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_matches_scipy_binomial_test(first: int, second: int) -> None:
    expected = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0

    assert mcnemar(first, second) == pytest.approx(expected, abs=1e-12)


def test_rate_ratio_has_an_interval_and_a_p_value() -> None:
    low, high, p = rate_ratio(45, 23)

    assert low < 45 / 23
    assert high is not None
    assert high > 45 / 23
    assert low > 1.0
    assert p == pytest.approx(stats.binomtest(45, 68, 0.5).pvalue)
    assert rate_ratio(0, 0) == (0.0, None, 1.0)
    assert rate_ratio(3, 0)[1] is None


def test_rate_ratio_accounts_for_unequal_hours() -> None:
    # Twice the events in twice the hours: the same rate.
    low, high, p = rate_ratio(40, 20, share=2 / 3)

    assert high is not None
    assert low < 1 < high
    assert p > 0.9


def test_proportion_intervals_have_nominal_coverage() -> None:
    random = np.random.default_rng(20_204)
    trials = random.integers(60, 600, 4_000)
    true = random.uniform(0.02, 0.3, 4_000)
    counts = random.binomial(trials, true)

    def covered(interval: Callable[[float, float], Rate]) -> float:
        found = [ends(interval(int(k), int(n))) for k, n in zip(counts, trials, strict=True)]
        return float(
            np.mean([low <= p <= high for (low, high), p in zip(found, true, strict=True)])
        )

    assert 0.94 <= covered(wilson) <= 0.97
    assert 0.95 <= covered(clopper_pearson) <= 0.98


def test_poisson_intervals_have_nominal_coverage() -> None:
    random = np.random.default_rng(20_205)
    expected = random.uniform(10, 100, 4_000)
    counts = random.poisson(expected)

    covered = np.mean(
        [
            low <= mean <= high
            for mean, (low, high) in (
                (mean, ends(poisson(int(count), 1.0)))
                for mean, count in zip(expected, counts, strict=True)
            )
        ]
    )

    assert 0.95 <= covered <= 0.97


def test_claims_have_the_nominal_error_rate() -> None:
    random = np.random.default_rng(20_206)
    true, hours = 0.5, 12.0
    counts = random.poisson(true * hours, 4_000)

    # A claim of "fewer than the true rate" is wrong, and must not be carried more than 1 in 20.
    wrong = np.mean([hours_needed(int(count), true) <= hours for count in counts])

    assert wrong <= 0.05


def test_bootstrap_covers_clustered_events() -> None:
    random = np.random.default_rng(20_207)
    covered = {"groups": 0, "events": 0}

    for seed in range(400):
        hours = random.uniform(0.1, 1, 40)
        counts = random.poisson(random.gamma(0.5, 4, 40) * hours)
        low, high = ends(bootstrap(counts.tolist(), hours.tolist(), PER_HOUR, seed))
        covered["groups"] += low <= 2.0 <= high
        low, high = ends(poisson(float(counts.sum()), float(hours.sum())))
        covered["events"] += low <= 2.0 <= high

    assert covered["groups"] / 400 >= 0.91
    assert covered["events"] / 400 < 0.85


def test_bootstrap_is_deterministic_and_keeps_the_rate() -> None:
    counts, hours = [0.0, 3, 1, 0, 2, 0], [1.0, 2, 1, 1, 1, 0]

    rate = bootstrap(counts, hours, PER_HOUR, 7)

    assert rate == bootstrap(counts, hours, PER_HOUR, 7)
    assert rate is not None
    assert rate.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("counts", "exposures"),
    [
        ([1.0, 0, 1], [1.0, 1, 1]),
        ([0.0] * 9, [1.0] * 9),
        ([2.0] * 9, [2.0] * 9),
        ([1.0] * 9, [0.0] * 9),
    ],
)
def test_bootstrap_is_none_without_variation_between_groups(
    counts: list[float], exposures: list[float]
) -> None:
    assert bootstrap(counts, exposures, PER_WORD, 1) is None


@given(st.integers(0, 400), st.floats(0.01, 10), st.sampled_from([0.8, 0.95, 0.99]))
def test_hours_needed_match_scipys_poisson_tail(
    count: int, claim: float, confidence: float
) -> None:
    hours = hours_needed(count, claim, confidence)

    assert stats.poisson.cdf(count, claim * hours) == pytest.approx(1 - confidence)


@given(
    st.integers(0, 80),
    st.integers(0, 80),
    st.sampled_from([0.2, 0.5, 0.7]),
    st.sampled_from([0.9, 0.95]),
)
def test_rate_ratio_matches_scipys_binomial_test(
    first: int, second: int, share: float, confidence: float
) -> None:
    low, high, p = rate_ratio(first, second, share, confidence)

    if first + second:
        test = stats.binomtest(first, first + second, share)
        split = test.proportion_ci(confidence, "exact")
        odds = (1 - share) / share
        assert low == pytest.approx(split.low / (1 - split.low) * odds, rel=1e-7, abs=1e-9)
        if second:
            assert high == pytest.approx(split.high / (1 - split.high) * odds)
        else:
            assert high is None
        assert p == pytest.approx(test.pvalue, abs=1e-9)


def test_bootstrap_matches_scipys_bca_with_many_groups() -> None:
    # With 400 groups the widening by Student's t is below half a percent of the interval.
    random = np.random.default_rng(20_208)
    hours = random.uniform(0.5, 2, 400)
    counts = random.poisson(random.gamma(0.5, 2, 400) * hours).astype(np.float64)

    def rate(events: NDArray[np.float64], exposed: NDArray[np.float64], axis: int = -1) -> object:
        return events.sum(axis=axis) / exposed.sum(axis=axis)

    expected = stats.bootstrap(
        (counts, hours), rate, paired=True, n_resamples=4_000, method="BCa", rng=random
    ).confidence_interval
    low, high = ends(bootstrap(counts.tolist(), hours.tolist(), PER_HOUR, 1))

    assert low == pytest.approx(expected.low, abs=0.05 * (expected.high - expected.low))
    assert high == pytest.approx(expected.high, abs=0.05 * (expected.high - expected.low))
