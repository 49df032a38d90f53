"""Scores for the charts of the report: excerpts around events, and histograms. Pure."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.engines.interface import Scores, ScoreTrack
from listener.evaluate.metrics.results import DetectionEvent, Excerpt, Histogram

BINS: Final = 50
"""Bins of a histogram, from 0 to 1."""
BEFORE_S: Final = 3.0
"""Seconds of an excerpt before the event."""
AFTER_S: Final = 2.0
"""Seconds of an excerpt after the event."""

_DECIMALS: Final = 4


def cut_excerpt(
    track: ScoreTrack, event: DetectionEvent, before_s: float = BEFORE_S, after_s: float = AFTER_S
) -> Excerpt:
    """Return the scores of the event's word around the event.

    Args:
        track: score track of the event's play.
        event: any event.
        before_s: seconds before the event; fewer at the start of an item.
        after_s: seconds after the event; fewer at the end of an item.
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
        # A chart shows fewer than four decimals; rounding saves two thirds of the bytes.
        scores=tuple(round(score, _DECIMALS) for score in track.of(event.word)[chosen].tolist()),
    )


@dataclass(slots=True)
class ScoreHistogram:
    """Histogram of scores, filled item by item in constant memory."""

    said: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Counts of the highest score in each window, int64, shape (BINS,)."""
    unsaid: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    """Counts of the scores outside all windows, int64, shape (BINS,)."""

    def add(self, spoken: Scores, unspoken: Scores) -> None:
        """Add the scores of one item.

        Args:
            spoken: highest score in each window, shape (n,).
            unspoken: scores outside all windows, shape (m,).
        """
        self.said += _count_bins(spoken)
        self.unsaid += _count_bins(unspoken)

    def histogram(self) -> Histogram:
        """Return the histogram as a part of the result."""
        return Histogram(said=tuple(self.said.tolist()), unsaid=tuple(self.unsaid.tolist()))


def _count_bins(scores: Scores) -> NDArray[np.int64]:
    # A score of exactly 1 belongs to the last bin.
    bins = np.clip((np.asarray(scores, np.float64) * BINS).astype(np.int64), 0, BINS - 1)
    return np.bincount(bins, minlength=BINS)
