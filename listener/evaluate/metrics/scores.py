"""What the report draws of the scores: how high they were, and how they rose. Pure."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.engines.interface import Scores, ScoreTrack
from listener.evaluate.metrics.results import DetectionEvent, Excerpt, Histogram

BINS: Final = 50
BEFORE_S: Final = 3.0
AFTER_S: Final = 2.0

_DECIMALS: Final = 4


def cut_excerpt(
    track: ScoreTrack, event: DetectionEvent, before_s: float = BEFORE_S, after_s: float = AFTER_S
) -> Excerpt:
    """Return the scores of the event's word around it.

    Args:
        track: of the play in which it happened.
        event: any.
        before_s: how much comes before it; less at the start of an item.
        after_s: how much comes after it; less at the end of an item.
    """
    ends_s = track.end_samples() / SAMPLE_RATE_HZ
    near = (ends_s >= event.at_s - before_s) & (ends_s <= event.at_s + after_s)
    chosen = np.flatnonzero(near)
    first = int(chosen[0]) if len(chosen) else 0
    return Excerpt(
        item=event.item,
        play=event.play,
        at_s=event.at_s,
        length_s=track.length_samples / SAMPLE_RATE_HZ,
        first_s=float(ends_s[first]) if len(chosen) else 0.0,
        step_s=track.step_samples / SAMPLE_RATE_HZ,
        # Four decimals are more than a picture shows, and a third of the bytes.
        scores=tuple(round(score, _DECIMALS) for score in track.of(event.word)[chosen].tolist()),
    )


@dataclass(slots=True)
class ScoreHistogram:
    """Counts scores into bins, item by item, in constant memory."""

    said: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Of the highest score in each labelled word's window."""
    unsaid: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Of every step outside all windows."""

    def add(self, spoken: Scores, unspoken: Scores) -> None:
        """Count one item's.

        Args:
            spoken: the highest score in each window, shape (n,).
            unspoken: the score of each step outside all windows, shape (m,).
        """
        self.said += _count_bins(spoken)
        self.unsaid += _count_bins(unspoken)

    def histogram(self) -> Histogram:
        """Return what was counted."""
        return Histogram(said=tuple(self.said.tolist()), unsaid=tuple(self.unsaid.tolist()))


def _count_bins(scores: Scores) -> NDArray[np.int64]:
    # A score of exactly 1 belongs to the last bin.
    bins = np.clip((np.asarray(scores, np.float64) * BINS).astype(np.int64), 0, BINS - 1)
    return np.bincount(bins, minlength=BINS)
