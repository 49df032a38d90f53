"""Which threshold, and which claim, the hours that were heard can carry. Pure."""

from collections.abc import Iterable, Sequence

from listener.evaluate.rates.curve import GRID, CurveCounts
from listener.evaluate.rates.intervals import CONFIDENCE, Rate, hours_needed, poisson, wilson
from listener.evaluate.rates.result import Hours, Point, Target

_SHOWN = frozenset(round(step / 20, 2) for step in range(1, 20))
"""Thresholds that a curve shows even where nothing changes."""


def curve_points(counts: CurveCounts, plays: int, spoken: int, hours: float) -> tuple[Point, ...]:
    """Return the curve where it changes, and every 0.05.

    Args:
        counts: of all plays together.
        plays: how many there were of each item.
        spoken: labelled words.
        hours: in which a wake would be false.
    """
    points: list[Point] = []
    before: tuple[int, int] | None = None
    for threshold, missed, false in zip(
        GRID, counts.misses.tolist(), counts.false_wakes.tolist(), strict=True
    ):
        if (missed, false) != before or threshold in _SHOWN:
            points.append(
                Point(
                    threshold=threshold,
                    misses=wilson(missed / plays, spoken),
                    false_wakes=poisson(false / plays, hours),
                )
            )
        before = missed, false
    return tuple(points)


def find_target(counts: CurveCounts, plays: int, hours: float, per_hour: float) -> Target:
    """Find the threshold for a rate of false wakes.

    Args:
        counts: of all plays together.
        plays: how many there were of each item.
        hours: in which a wake would be false.
        per_hour: the rate, above 0.
    """
    rates = [poisson(false / plays, hours) for false in counts.false_wakes.tolist()]
    lowest = _first(rate.value is not None and rate.value <= per_hour for rate in rates)
    needed_h = None if lowest is None else hours_needed(rates[lowest].count, per_hour)
    return Target(
        per_hour=per_hour,
        threshold=_threshold(lowest),
        low=_threshold(_first(rate.low is not None and rate.low <= per_hour for rate in rates)),
        high=_threshold(_first(rate.high is not None and rate.high <= per_hour for rate in rates)),
        carried=needed_h is not None and needed_h <= hours,
        still_needed_h=None if needed_h is None else max(needed_h - hours, 0.0),
    )


def check_claims(false_wakes: Rate, per_hour: Sequence[float]) -> tuple[Hours, ...]:
    """Hold claims of fewer false wakes per hour against what was heard.

    Args:
        false_wakes: per hour.
        per_hour: the claims, each above 0.
    """
    claims = []
    for claim in per_hour:
        needed_h = hours_needed(false_wakes.count, claim, CONFIDENCE)
        contradicted = false_wakes.low is not None and false_wakes.low > claim
        claims.append(
            Hours(
                claim_per_hour=claim,
                carried=needed_h <= false_wakes.exposure,
                still_needed_h=None if contradicted else max(needed_h - false_wakes.exposure, 0.0),
            )
        )
    return tuple(claims)


def _first(holds: Iterable[bool]) -> int | None:
    return next((index for index, held in enumerate(holds) if held), None)


def _threshold(index: int | None) -> float | None:
    return None if index is None else GRID[index]
