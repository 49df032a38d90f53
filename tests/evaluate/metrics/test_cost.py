"""Detection cost at stated priors."""

import numpy as np
import pytest

from listener.evaluate.metrics.cost import combine_rates, detection_costs
from listener.evaluate.metrics.intervals import poisson, wilson
from listener.evaluate.metrics.results import Point

CURVE = tuple(
    Point(threshold=threshold, misses=wilson(missed, 100), false_wakes=poisson(false, 10))
    for threshold, missed, false in ((0.1, 1, 40), (0.5, 5, 6), (0.9, 40, 0))
)


def test_cost_is_that_of_nist_std_2006() -> None:
    # P_miss + 999.9 P_fa, with a trial a second: 6 in 10 hours are 6 of 36,000 trials.
    (cost,) = detection_costs(
        *(0.5, CURVE[1].misses, CURVE[1].false_wakes, CURVE, (0.0001,)),
        cost_miss=1,
        cost_false_wake=0.1,
    )

    assert cost.actual.value == pytest.approx(0.05 + 999.9 * 6 / 36_000)
    assert cost.minimum == cost.actual
    assert cost.actual.low < cost.actual.value < cost.actual.high


def test_minimum_depends_on_the_prior() -> None:
    rare, common = detection_costs(
        *(0.5, CURVE[1].misses, CURVE[1].false_wakes, CURVE, (0.00001, 0.01)),
        cost_miss=1,
        cost_false_wake=0.1,
    )

    assert (rare.minimum.threshold, common.minimum.threshold) == (0.9, 0.1)
    assert rare.minimum.value < rare.actual.value
    # A detector that never wakes costs 1 at every prior.
    silent = combine_rates(1.0, wilson(100, 100), poisson(0, 10), 999.9)
    assert silent.value == 1


def test_no_words_or_no_hours_have_no_cost() -> None:
    for misses, false in ((wilson(0, 0), poisson(1, 1)), (wilson(1, 2), poisson(0, 0))):
        assert not detection_costs(
            *(0.5, misses, false, (), (0.1,)), cost_miss=1, cost_false_wake=1
        )


def test_interval_covers_the_true_cost_as_often_as_it_claims() -> None:
    random = np.random.default_rng(7)
    beta = 999.9
    for share, per_hour, words, hours in ((0.05, 1.0, 200, 20), (0.2, 0.3, 60, 30)):
        true = share + beta * per_hour / 3600
        covered = 0
        for missed, false in zip(
            random.binomial(words, share, 800), random.poisson(per_hour * hours, 800), strict=True
        ):
            cost = combine_rates(0.5, wilson(missed, words), poisson(false, hours), beta)
            covered += cost.low <= true <= cost.high
        assert 0.93 <= covered / 800 <= 0.995
