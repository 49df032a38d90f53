"""What happened when an item was played: hits, misses, false wakes, near misses."""

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What an event is."""

    HIT = "hit"
    """A wake inside the window of a labelled word; one for each word."""
    MISS = "miss"
    """A labelled word without a wake in its window."""
    FALSE_WAKE = "false wake"
    """Any other wake."""
    NEAR_MISS = "near miss"
    """A run of scores that stayed under the threshold, outside every window."""


@dataclass(frozen=True, slots=True)
class DetectionEvent:
    """One of them, at one threshold.

    Seconds count from the start of the item, whatever phase it was played at.
    """

    kind: EventKind
    word: str
    item: str
    condition: str
    """Under which sound it was played: ``clean``, ``10 dB cafe`` …"""
    play: int
    """Which of the repeated plays, from 0."""
    at_s: float
    """Where the step ends that woke; for a miss where the window ends, for a near miss the peak."""
    score: float
    """Of that step; for a miss the highest in the window."""
    peak: float
    """The highest score of the run of steps at or above the threshold."""
    activation_s: float
    """How long that run is; 0 for misses and near misses."""
    latency_s: float | None = None
    """From the end of the word to the wake; only a hit whose word was placed has one."""
    speaker: str | None = None
    """Who spoke, where the corpus says so."""
    clip: str | None = None
    """What the stretch is called where it came from."""
    transcript: str | None = None
    """What was said around it, where the corpus says so."""
