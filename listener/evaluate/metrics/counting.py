"""Wakes of a track of scores: hits, misses, false wakes and near misses, at any threshold. Pure.

The definitions are in ``docs/research/index.md``; the trigger rule is that of
``listener/wakeword/detector.py``, applied to a whole track at once. ``count_curve`` counts at every
threshold of a grid: only thresholds between which some score lies give different counts.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.corpus.items import Item
from listener.evaluate.corpus.stream import SpanLabel
from listener.evaluate.engines.interface import Scores
from listener.wakeword.detector import Rule

Indices = NDArray[np.int64]

_TAIL: Final = (0.0001, 0.0002, 0.0005)
GRID: Final[tuple[float, ...]] = (
    *_TAIL,
    *(step / 1000 for step in range(1, 1000)),
    *(1 - tail for tail in reversed(_TAIL)),
)
"""Thresholds of the curve: thousandths, and finer at both ends, where most scores are."""


@dataclass(frozen=True, slots=True)
class Window:
    """Window of a labelled word: a wake in it is a hit."""

    first_sample: int
    end_sample: int
    """Last sample at which a step of the window may end."""
    word_end_sample: int | None
    """End of the word itself; None if not labelled."""


@dataclass(frozen=True, slots=True)
class WakeCounts:
    """Hits, misses and false wakes of a track."""

    hits: tuple[tuple[int, int], ...]
    """Indices of window and step."""
    misses: tuple[int, ...]
    """Indices of windows."""
    false_wakes: tuple[int, ...]
    """Indices of steps."""


def hit_windows(item: Item, word: str, length_samples: int, tail_s: float) -> tuple[Window, ...]:
    """Return the windows of an item's labels for ``word``, in the order of time.

    Args:
        item: the item with its labels.
        word: label of the word; other labels have no window.
        length_samples: length of the item.
        tail_s: time after the end of a word in which a wake is still a hit.
    """
    windows = []
    for label in item.labels:
        if label.word != word:
            continue
        if label.start_s is None or label.end_s is None:
            # Anywhere in the item; its last step may end a little later.
            windows.append(Window(0, length_samples + round(tail_s * SAMPLE_RATE_HZ), None))
        else:
            end = round(label.end_s * SAMPLE_RATE_HZ)
            windows.append(
                Window(
                    round(label.start_s * SAMPLE_RATE_HZ),
                    end + round(tail_s * SAMPLE_RATE_HZ),
                    None if isinstance(label, SpanLabel) else end,
                )
            )
    return tuple(sorted(windows, key=lambda window: (window.first_sample, window.end_sample)))


def find_wakes(ends: Indices, scores: Scores, rule: Rule) -> Indices:
    """Return the indices of the steps that wake; equal to those of ``Trigger``.

    Args:
        ends: end of each step in samples, shape (steps,), ascending.
        scores: scores, shape (steps,).
        rule: threshold, patience and refractory.
    """
    return select_apart(select_qualifying(scores, rule), ends, rule.refractory_samples)


def select_qualifying(scores: Scores, rule: Rule) -> Indices:
    """Return the steps whose scores have reached the threshold for the patience."""
    steps = np.flatnonzero(reaches(scores, rule.threshold))
    earlier = rule.patience_steps - 1
    if not earlier or not len(steps):
        return steps
    qualifying: Indices = steps[earlier:][steps[earlier:] - steps[:-earlier] == earlier]
    return qualifying


def reaches(scores: Scores, threshold: float) -> NDArray[np.bool_]:
    """Return where scores reach the threshold, shape (steps,).

    Equal to the trigger's comparison in double precision, without a copy of the scores.
    """
    least = np.float32(threshold)
    if float(least) < threshold:
        least = np.nextafter(least, np.float32(np.inf))
    reached: NDArray[np.bool_] = scores >= least
    return reached


def select_apart(steps: Indices, ends: Indices, least_samples: int) -> Indices:
    """Return the first step, and each that ends ``least_samples`` after the last chosen one."""
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
    """Return the peak of each near miss, as a step index; equal to those of ``Trigger``.

    Args:
        ends: end of each step in samples, shape (steps,).
        scores: scores, shape (steps,).
        rule: threshold, near-miss threshold and refractory.
        woken: indices of the steps that woke.
    """
    peaks = []
    for first, end in find_runs(scores, min(rule.near_miss_threshold, rule.threshold)):
        if end == len(scores):
            continue  # the run has not ended: the outcome is not known
        before = int(np.searchsorted(woken, end))
        last = int(woken[before - 1]) if before else -1
        peak = first + int(np.argmax(scores[first:end]))
        refractory = last >= 0 and ends[peak] - ends[last] < rule.refractory_samples
        if last < first and not refractory:
            peaks.append(peak)
    return np.array(peaks, np.int64)


def find_runs(scores: Scores, threshold: float) -> list[tuple[int, int]]:
    """Return the first step and the end (exclusive) of each run at or above ``threshold``."""
    above = np.concatenate([[False], reaches(scores, threshold), [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def count_wakes(ends: Indices, woken: Indices, windows: Sequence[Window]) -> WakeCounts:
    """Match wakes with windows: the earliest wake in a window is its hit, others are false wakes.

    Args:
        ends: end of each step in samples, shape (steps,).
        woken: indices of the steps that woke, ascending.
        windows: windows of the labelled words, in order.
    """
    unmatched = list(range(len(windows)))
    hits: list[tuple[int, int]] = []
    false_wakes: list[int] = []
    for step in woken.tolist():
        at = int(ends[step])
        match = next(
            (
                index
                for index in unmatched
                if windows[index].first_sample < at <= windows[index].end_sample
            ),
            None,
        )
        if match is None:
            false_wakes.append(step)
        else:
            unmatched.remove(match)
            hits.append((match, step))
    return WakeCounts(tuple(hits), tuple(unmatched), tuple(false_wakes))


def false_hours(length_samples: int, windows: Sequence[Window]) -> float:
    """Return the hours of an item outside every window, where a wake would be false."""
    covered = reached = 0
    for window in windows:
        first, end = max(window.first_sample, reached), min(window.end_sample, length_samples)
        covered += max(end - first, 0)
        reached = max(reached, end)
    return (length_samples - covered) / SAMPLE_RATE_HZ / 3600


@dataclass(frozen=True, slots=True)
class CurveCounts:
    """Misses and false wakes at every threshold of the grid, of one play or summed over many."""

    misses: NDArray[np.int64]
    """Counts, shape (thresholds,)."""
    false_wakes: NDArray[np.int64]
    """Counts, shape (thresholds,)."""

    def __add__(self, other: "CurveCounts") -> "CurveCounts":
        """Return the sum."""
        return CurveCounts(self.misses + other.misses, self.false_wakes + other.false_wakes)


def zero_counts() -> CurveCounts:
    """Return counts of 0."""
    return CurveCounts(np.zeros(len(GRID), np.int64), np.zeros(len(GRID), np.int64))


def count_curve(
    ends: Indices, scores: Scores, rule: Rule, windows: Sequence[Window]
) -> CurveCounts:
    """Count misses and false wakes of a track at every threshold of the grid.

    Args:
        ends: end of each step in samples, shape (steps,).
        scores: scores, shape (steps,).
        rule: patience and refractory; its threshold is ignored.
        windows: windows of the labelled words, in order.
    """
    counts = zero_counts()
    counts.misses[:] = len(windows)
    # Number of thresholds that each score reaches; the counts are constant between them.
    reached = np.unique(np.searchsorted(np.array(GRID), scores.astype(np.float64), side="right"))
    below = 0
    for above in reached[reached > 0].tolist():
        at_threshold = dataclasses.replace(rule, threshold=GRID[above - 1])
        wakes = count_wakes(ends, find_wakes(ends, scores, at_threshold), windows)
        counts.misses[below:above] = len(wakes.misses)
        counts.false_wakes[below:above] = len(wakes.false_wakes)
        below = above
    return counts
