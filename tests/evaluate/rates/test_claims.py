"""Which threshold, and which claim, the hours can carry."""

import numpy as np
import pytest

from listener.evaluate.rates.claims import check_claims, curve_points, find_target
from listener.evaluate.rates.curve import GRID, CurveCounts
from listener.evaluate.rates.intervals import hours_needed, poisson


def falling(*steps: tuple[float, int]) -> CurveCounts:
    """False wakes that fall at each threshold to so many; misses that rise meanwhile."""
    grid = np.array(GRID)
    false = np.zeros(len(grid), np.int64)
    for threshold, count in steps:
        false[grid >= threshold] = count
    return CurveCounts((grid * 10).astype(np.int64), false)


def test_the_threshold_is_the_lowest_with_so_few_false_wakes() -> None:
    found = find_target(falling((0, 40), (0.3, 20), (0.6, 5), (0.9, 0)), 1, 40.0, 0.5)

    # 20 in 40 hours are 0.5 per hour; that fewer are meant is sure only from 5 on.
    assert found.threshold == 0.3
    assert found.low == 0.3
    assert found.high == 0.6
    assert not found.carried
    assert found.still_needed_h == pytest.approx(hours_needed(20, 0.5) - 40)


def test_a_claim_that_hours_carry_is_carried() -> None:
    found = find_target(falling((0, 40), (0.6, 1)), 1, 40.0, 0.5)

    assert (found.threshold, found.carried, found.still_needed_h) == (0.6, True, 0.0)


def test_the_interval_has_no_upper_end_where_hours_are_few() -> None:
    found = find_target(falling((0, 3), (0.6, 0)), 1, 1.0, 0.5)

    assert (found.threshold, found.high, found.carried) == (0.6, None, False)
    assert found.still_needed_h == pytest.approx(4.99, abs=0.01)


def test_no_threshold_may_be_high_enough() -> None:
    found = find_target(falling((0, 9)), 1, 1.0, 0.5)

    assert (found.threshold, found.low, found.still_needed_h) == (None, None, None)


def test_without_hours_no_threshold_is_told() -> None:
    assert find_target(falling((0, 0)), 1, 0.0, 0.5).threshold is None


def test_plays_are_means() -> None:
    assert find_target(falling((0, 80), (0.3, 40), (0.6, 0)), 2, 40.0, 0.5).threshold == 0.3


def test_claims_are_carried_lacking_or_contradicted() -> None:
    carried, lacking, contradicted = check_claims(poisson(1, 10.0), (1.0, 0.2, 0.001))

    assert (carried.carried, carried.still_needed_h) == (True, 0.0)
    assert not lacking.carried
    assert lacking.still_needed_h == pytest.approx(hours_needed(1, 0.2) - 10)
    assert (contradicted.carried, contradicted.still_needed_h) == (False, None)


def test_the_curve_has_a_point_where_it_changes_and_every_twentieth() -> None:
    curve = curve_points(falling((0, 40), (0.333, 20)), 2, 100, 10.0)

    found = {point.threshold: point for point in curve}
    assert found[0.333].false_wakes.count == 10
    assert found[0.3].false_wakes.value == 2.0
    assert found[0.5].misses.exposure == 100
    assert {round(step / 20, 2) for step in range(1, 20)} <= found.keys()
    assert len(curve) < 40
