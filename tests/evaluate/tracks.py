"""Tracks for tests of what is made of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from listener.evaluate.engines.interface import ScoreTrack

HERE = Path(__file__)
STEP = 1_280


def ends_of(steps: int) -> NDArray[np.int64]:
    """Where each of so many steps ends."""
    return np.arange(1, steps + 1, dtype=np.int64) * STEP


def track_of(*scores: float, word: str = "alexa", offset: int = 0) -> ScoreTrack:
    """A track of one word."""
    column = np.array(scores, np.float32)[:, None]
    return ScoreTrack((word,), column, STEP, offset + STEP, offset + len(scores) * STEP)
