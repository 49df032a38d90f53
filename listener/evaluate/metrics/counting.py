"""When a track wakes, and what each wake is. Pure.

``docs/research/index.md`` has the definitions in words; the rule is that of
``listener/wakeword/detector.py``, here over a whole track at once.

Misses and false wakes at every threshold at once. Pure.

Scores are computed once; a threshold only matters where it passes a score, so a track is judged
as often as its scores fill different steps of the grid.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.corpus.items import Item
from listener.evaluate.engines.interface import Scores
from listener.wakeword.detector import Rule

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """Where a wake is a hit."""

    first_sample: int
    end_sample: int
    """A step that ends here still belongs to it."""
    word_end_sample: int | None
    """Where the word itself ends; None where nobody noted it."""


@dataclass(frozen=True, slots=True)
class WakeCounts:
    """What each wake of a track turned out to be."""

    hits: tuple[tuple[int, int], ...]
    """Window and step."""
    misses: tuple[int, ...]
    """Windows."""
    false_wakes: tuple[int, ...]
    """Steps."""


def hit_windows(item: Item, word: str, length_samples: int, tail_s: float) -> tuple[Window, ...]:
    """Return where a wake for ``word`` is a hit, in the order of time.

    Args:
        item: has the labels.
        word: labels of other words open no window.
        length_samples: of the item.
        tail_s: how long after its end a word may still be heard.
    """
    places = []
    for label in item.labels:
        if label.word != word:
            continue
        if label.start_s is None or label.end_s is None:
            # Somewhere in the item; the step that ends it may end a little later.
            places.append(Window(0, length_samples + round(tail_s * SAMPLE_RATE_HZ), None))
        else:
            end = round(label.end_s * SAMPLE_RATE_HZ)
            places.append(
                Window(
                    round(label.start_s * SAMPLE_RATE_HZ), end + round(tail_s * SAMPLE_RATE_HZ), end
                )
            )
    return tuple(sorted(places, key=lambda window: (window.first_sample, window.end_sample)))


def find_wakes(ends: Indices, scores: Scores, rule: Rule) -> Indices:
    """Return the steps that wake, as ``Trigger`` finds them one by one.

    Args:
        ends: where each step ends, shape (steps,), rising.
        scores: shape (steps,).
        rule: threshold, patience and refractory.
    """
    return select_apart(select_qualifying(scores, rule), ends, rule.refractory_samples)


def select_qualifying(scores: Scores, rule: Rule) -> Indices:
    """Return the steps that have been at or above the threshold for the patience."""
    steps = np.flatnonzero(reaches(scores, rule.threshold))
    wanted = rule.patience_steps - 1
    if not wanted or not len(steps):
        return steps
    held: Indices = steps[wanted:][steps[wanted:] - steps[:-wanted] == wanted]
    return held


def reaches(scores: Scores, threshold: float) -> NDArray[np.bool_]:
    """Compare as the trigger does, in double precision, without making a copy of the scores."""
    least = np.float32(threshold)
    if float(least) < threshold:
        least = np.nextafter(least, np.float32(np.inf))
    reached: NDArray[np.bool_] = scores >= least
    return reached


def select_apart(steps: Indices, ends: Indices, least_samples: int) -> Indices:
    """Return the first of ``steps``, and each that is far enough from the last one chosen."""
    if not len(steps):
        return steps
    at = ends[steps]
    chosen = [0]
    while True:
        following = int(np.searchsorted(at, at[chosen[-1]] + least_samples))
        following = max(following, chosen[-1] + 1)
        if following >= len(at):
            return steps[chosen]
        chosen.append(following)


def find_near_misses(ends: Indices, scores: Scores, rule: Rule, woken: Indices) -> Indices:
    """Return the peak of each run of scores that nearly woke, as ``Trigger`` does.

    Args:
        ends: where each step ends.
        scores: shape (steps,).
        rule: threshold and near-miss threshold.
        woken: the steps that woke.
    """
    peaks = []
    for first, end in find_runs(scores, min(rule.near_miss_threshold, rule.threshold)):
        if end == len(scores):
            continue  # still going on: nobody knows yet
        before = int(np.searchsorted(woken, end))
        last = int(woken[before - 1]) if before else -1
        peak = first + int(np.argmax(scores[first:end]))
        refractory = last >= 0 and ends[peak] - ends[last] < rule.refractory_samples
        if last < first and not refractory:
            peaks.append(peak)
    return np.array(peaks, np.int64)


def find_runs(scores: Scores, threshold: float) -> list[tuple[int, int]]:
    """Return first step and end of each run of steps at or above ``threshold``."""
    above = np.concatenate([[False], reaches(scores, threshold), [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def count_wakes(ends: Indices, woken: Indices, places: Sequence[Window]) -> WakeCounts:
    """Tell hits from false wakes: one hit for each window, the earliest wake in it.

    Args:
        ends: where each step ends.
        woken: the steps that woke, in order.
        places: the windows, in order.
    """
    open_places = list(range(len(places)))
    hits: list[tuple[int, int]] = []
    false_wakes: list[int] = []
    for step in woken.tolist():
        at = int(ends[step])
        place = next(
            (
                index
                for index in open_places
                if places[index].first_sample < at <= places[index].end_sample
            ),
            None,
        )
        if place is None:
            false_wakes.append(step)
        else:
            open_places.remove(place)
            hits.append((place, step))
    return WakeCounts(tuple(hits), tuple(open_places), tuple(false_wakes))


def false_hours(length_samples: int, places: Sequence[Window]) -> float:
    """Return the hours of an item in which a wake would be false: those outside every window."""
    covered = reached = 0
    for place in places:
        first, end = max(place.first_sample, reached), min(place.end_sample, length_samples)
        covered += max(end - first, 0)
        reached = max(reached, end)
    return (length_samples - covered) / SAMPLE_RATE_HZ / 3600


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
