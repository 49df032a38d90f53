"""Misses and false wakes at every threshold at once. Pure.

Scores are computed once; a threshold only matters where it passes a score, so a track is judged
as often as its scores fill different steps of the grid.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.evaluate.engines.track import Scores
from listener.evaluate.rates.counting import Indices, Window, count_wakes, find_wakes
from listener.wakeword.detector import Rule

_TAIL: Final = (0.0001, 0.0002, 0.0005)
GRID: Final[tuple[float, ...]] = (
    *_TAIL,
    *(step / 1000 for step in range(1, 1000)),
    *(1 - tail for tail in reversed(_TAIL)),
)
"""Every threshold that is judged: thousandths, and finer at both ends, where scores crowd."""


@dataclass(frozen=True, slots=True)
class CurveCounts:
    """Of one play, or of many together, at every threshold of the grid."""

    misses: NDArray[np.int64]
    """Shape (thresholds,)."""
    false_wakes: NDArray[np.int64]
    """Shape (thresholds,)."""

    def __add__(self, other: "CurveCounts") -> "CurveCounts":
        """Return both together."""
        return CurveCounts(self.misses + other.misses, self.false_wakes + other.false_wakes)


def zero_counts() -> CurveCounts:
    """Return the counts of nothing."""
    return CurveCounts(np.zeros(len(GRID), np.int64), np.zeros(len(GRID), np.int64))


def count_curve(ends: Indices, scores: Scores, rule: Rule, places: Sequence[Window]) -> CurveCounts:
    """Judge a track at every threshold of the grid.

    Args:
        ends: where each step ends, shape (steps,).
        scores: shape (steps,).
        rule: patience and refractory; its threshold is not looked at.
        places: the windows in which a wake is a hit, in order.
    """
    found = zero_counts()
    found.misses[:] = len(places)
    # How many thresholds each score reaches; between two such numbers nothing changes.
    reached = np.unique(np.searchsorted(np.array(GRID), scores.astype(np.float64), side="right"))
    below = 0
    for above in reached[reached > 0].tolist():
        judged = dataclasses.replace(rule, threshold=GRID[above - 1])
        counted = count_wakes(ends, find_wakes(ends, scores, judged), places)
        found.misses[below:above] = len(counted.misses)
        found.false_wakes[below:above] = len(counted.false_wakes)
        below = above
    return found
