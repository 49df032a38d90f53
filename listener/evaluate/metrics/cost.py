"""Detection cost at stated priors: one number for misses and false wakes. Pure.

The normalised cost of NIST's evaluations of spoken term detection (STD 2006) and of speakers:
``P_miss + beta P_fa`` with ``beta = cost_false_wake (1 - prior) / (cost_miss prior)``. The trials
of false wakes are seconds, so that ``P_fa`` is the rate per hour over 3600. A detector that never
wakes costs 1.
"""

import math
from collections.abc import Sequence
from typing import Final

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import Cost, DetectionCost, Point

TRIALS_PER_HOUR: Final = 3600.0
"""Trials of an hour without the word: one a second."""


def detection_costs(  # noqa: PLR0913 - the operating point, and the parameters of the cost
    threshold: float,
    misses: Rate,
    false_wakes: Rate,
    curve: Sequence[Point],
    priors: Sequence[float],
    *,
    cost_miss: float,
    cost_false_wake: float,
) -> tuple[DetectionCost, ...]:
    """Return the actual and the minimum cost at each prior; empty without words or hours.

    Args:
        threshold: threshold in use.
        misses: misses per labelled word at that threshold.
        false_wakes: false wakes per hour at that threshold.
        curve: the rates at every threshold at which they change.
        priors: probabilities that a second contains the word, each between 0 and 1.
        cost_miss: cost of a miss, above 0.
        cost_false_wake: cost of a false wake, above 0.
    """
    if misses.value is None or false_wakes.value is None:
        return ()
    costs = []
    for prior in priors:
        beta = cost_false_wake * (1 - prior) / (cost_miss * prior)
        actual = combine_rates(threshold, misses, false_wakes, beta)
        minimum = min(
            (combine_rates(p.threshold, p.misses, p.false_wakes, beta) for p in curve),
            key=lambda cost: cost.value,
            default=actual,
        )
        costs.append(
            DetectionCost(
                prior=prior,
                cost_miss=cost_miss,
                cost_false_wake=cost_false_wake,
                actual=actual,
                minimum=min(minimum, actual, key=lambda cost: cost.value),
            )
        )
    return tuple(costs)


def combine_rates(threshold: float, misses: Rate, false_wakes: Rate, beta: float) -> Cost:
    """Return ``P_miss + beta P_fa`` with its interval.

    The interval is that of a sum of two independent estimates with unequal intervals (method of
    variance estimates recovery: Zou and Donner, 2008).

    Args:
        threshold: threshold of both rates.
        misses: misses per labelled word, with a value.
        false_wakes: false wakes per hour, with a value.
        beta: weight of the probability of a false wake in a second.
    """
    weight = beta / TRIALS_PER_HOUR
    parts = [
        (value * scale, (low or 0.0) * scale, (high if high is not None else value) * scale)
        for value, low, high, scale in (
            (misses.value or 0.0, misses.low, misses.high, 1.0),
            (false_wakes.value or 0.0, false_wakes.low, false_wakes.high, weight),
        )
    ]
    value = sum(part for part, _, _ in parts)
    return Cost(
        threshold=threshold,
        value=value,
        low=max(0.0, value - math.hypot(*(part - low for part, low, _ in parts))),
        high=value + math.hypot(*(high - part for part, _, high in parts)),
        confidence=misses.confidence,
    )
