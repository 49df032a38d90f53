"""Schema of ``result.json``: the result of an evaluation.

The report and the tables are built from it alone. msgspec encodes it with the field names as keys.
It does not depend on the clock, the machine's load or the number of workers.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from listener.evaluate.metrics.intervals import Rate

FORMAT: Final = "earmark-evaluation/1"


class EventKind(StrEnum):
    """Kind of an event."""

    HIT = "hit"
    """A wake in the window of a labelled word; at most one for each word."""
    MISS = "miss"
    """A labelled word without a wake in its window."""
    FALSE_WAKE = "false wake"
    """Any other wake."""
    NEAR_MISS = "near miss"
    """A run of scores that did not wake, outside every window."""


@dataclass(frozen=True, slots=True)
class DetectionEvent:
    """An event at one threshold.

    Seconds count from the start of the item, at any phase of the play.
    """

    kind: EventKind
    word: str
    item: str
    condition: str
    """Name of the condition: ``clean``, ``10 dB cafe`` …"""
    play: int
    """Index of the play, from 0."""
    at_s: float
    """End of the step that woke; for a miss the end of the window, for a near miss its peak."""
    score: float
    """Score of that step; for a miss the highest in the window."""
    peak: float
    """Highest score of the run of steps at or above the threshold."""
    activation_s: float
    """Length of that run; 0 for misses and near misses."""
    latency_s: float | None = None
    """Time from the end of the word to the wake; only for hits whose word has a labelled time."""
    speaker: str | None = None
    """Speaker, if the corpus names one."""
    clip: str | None = None
    """Name of the segment in its source."""
    transcript: str | None = None
    """Transcript around the event, if the corpus has one."""


class ResultTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the result."""


class Point(ResultTable, frozen=True, kw_only=True):
    """One threshold of the curve."""

    threshold: float
    misses: Rate
    false_wakes: Rate


class Hours(ResultTable, frozen=True, kw_only=True):
    """A claim about false wakes, and the hours that it still needs."""

    claim_per_hour: float
    """The claim: fewer false wakes per hour than this."""
    carried: bool
    """Whether these hours support it: the one-sided upper bound is below the claim."""
    still_needed_h: float | None
    """Further hours without a false wake that the claim needs; None if the whole interval lies
    above the claim, which these recordings contradict."""


class Target(ResultTable, frozen=True, kw_only=True):
    """Threshold for a rate of false wakes, with its uncertainty."""

    per_hour: float
    threshold: float | None
    """Lowest threshold with at most this rate in these hours; None if there is none."""
    low: float | None
    """Lowest threshold at which the lower end of the interval is at most the rate."""
    high: float | None
    """Lowest threshold at which the whole interval is at most the rate; None if there is none."""
    carried: bool
    """Whether these hours support the claim of fewer than the rate at ``threshold``."""
    still_needed_h: float | None
    """Further hours without a false wake that the claim needs; None without a threshold."""


class Cost(ResultTable, frozen=True, kw_only=True):
    """A normalised detection cost; a detector that never wakes costs 1."""

    threshold: float
    value: float
    low: float
    """Lower end of the interval (method of variance estimates recovery)."""
    high: float
    confidence: float


class DetectionCost(ResultTable, frozen=True, kw_only=True):
    """The detection cost at a prior; see ``metrics/cost.py``."""

    prior: float
    """Probability that a second contains the word."""
    cost_miss: float
    """Cost of a miss."""
    cost_false_wake: float
    """Cost of a false wake."""
    actual: Cost
    """Cost at the threshold in use."""
    minimum: Cost
    """Least cost at any threshold; it was selected on these recordings."""


class WordOutcome(ResultTable, frozen=True, kw_only=True):
    """Whether a labelled word woke in the first play."""

    item: str
    index: int
    """Index of the word in its item, in the order of time."""
    woke: bool


class EngineSpeed(ResultTable, frozen=True, kw_only=True):
    """Speed of an engine on this machine; the only part of a result that is not reproducible."""

    engine: str
    audio_s: float
    """Length of the audio that was scored, in seconds."""
    real_time_factor: float
    """Elapsed time over the length of the audio: the median of the runs."""
    cpu_share: float
    """CPU time, of this process and of the engine's own, over the length of the audio."""
    runs: int
    machine: str
    """Name of the processor."""


class Breakdown(ResultTable, frozen=True, kw_only=True):
    """The rates of one speaker, or of one condition of the corpus."""

    name: str
    misses: Rate
    false_wakes: Rate


class Repeatability(ResultTable, frozen=True, kw_only=True):
    """A labelled word or a false wake in repeated plays."""

    kind: str
    item: str
    at_s: float
    fired: int
    """Plays in which it woke (k)."""
    plays: int
    """Plays (n)."""


class Histogram(ResultTable, frozen=True, kw_only=True):
    """Histogram of scores, in bins of equal width from 0 to 1."""

    said: tuple[int, ...]
    """Counts of the highest score in each labelled word's window."""
    unsaid: tuple[int, ...]
    """Counts of the scores outside all windows."""


class Excerpt(ResultTable, frozen=True, kw_only=True):
    """The scores around an event."""

    item: str
    play: int
    at_s: float
    """Time of the event, which item, play and this identify."""
    length_s: float
    """Length of the item."""
    first_s: float
    """End of the first step."""
    step_s: float
    """Time between scores."""
    scores: tuple[float, ...]


class WordResult(ResultTable, frozen=True, kw_only=True):
    """One word of one engine under one condition."""

    engine: str
    """Name of the engine in the plan."""
    word: str
    condition: str
    threshold: float
    threshold_from: str
    """``manifest``, ``settings`` or ``target``."""
    items: int
    plays: int
    hours: float
    """Hours outside every window of a labelled word, where a wake would be false."""
    words_said: int
    """Number of labelled words."""
    misses: Rate
    misses_by_speaker: Rate | None
    """Misses with the bootstrap over speakers; None if it cannot be computed."""
    false_wakes: Rate
    false_wakes_by_recording: Rate | None
    """False wakes with the bootstrap over recordings; None if it cannot be computed."""
    false_wakes_per_10000_words: Rate | None
    """False wakes over the words of the transcripts; None without a transcript."""
    claims: tuple[Hours, ...]
    near_misses: int
    latency_s: tuple[float, ...]
    """Median, 90th and 95th percentile of the hits with a latency; empty without any."""
    activation_s: tuple[float, ...]
    """Median, 90th percentile and maximum of the false wakes' activations."""
    curve: tuple[Point, ...]
    speakers: tuple[Breakdown, ...]
    groups: tuple[Breakdown, ...]
    """Rates by ``Item.condition``."""
    events: tuple[DetectionEvent, ...]
    """Misses, false wakes and near misses at the threshold, then hits; by item, play and time."""
    repeatability: tuple[Repeatability, ...]
    said: str = ""
    """Label of the word."""
    target: Target | None = None
    """Search for the threshold, if a rate was requested."""
    clipped_samples: int = 0
    """Samples that exceeded the range of int16 after mixing."""
    histogram: Histogram | None = None
    excerpts: tuple[Excerpt, ...] = ()
    """Scores around each false wake; see ``metrics/excerpts.py``."""
    costs: tuple[DetectionCost, ...] = ()
    """Detection costs, one for each prior; empty without words or hours."""
    outcomes: tuple[WordOutcome, ...] = ()
    """Outcome of each labelled word, which ``earmark evaluate compare`` pairs."""


class Comparison(ResultTable, frozen=True, kw_only=True):
    """Paired comparison of two engines for one word, on the first play of the same items."""

    word: str
    """Label of the word."""
    condition: str
    first: str
    """Name of the first engine."""
    second: str
    words_said: int
    both_missed: int
    only_first_missed: int
    only_second_missed: int
    misses_p: float
    """p-value of McNemar's exact test."""
    both_false: int
    """False wakes of both within one refractory of each other."""
    only_first_false: int
    only_second_false: int
    false_wakes_p: float
    """p-value of the binomial test of the false wakes that only one of the two has."""
    ratio_low: float
    """Interval of the ratio of the first's to the second's such false wakes: lower end."""
    ratio_high: float | None
    """Upper end; None: unbounded."""


class SkippedItem(ResultTable, frozen=True, kw_only=True):
    """An item that is not counted, or not completely."""

    item: str
    why: str


class Result(ResultTable, frozen=True, kw_only=True):
    """Result of an evaluation."""

    format: str = FORMAT
    plan: dict[str, object]
    """The plan that was run, with all defaults."""
    hashes: dict[str, str]
    """SHA-256 of each model, and of the settings, the corpus and the code."""
    versions: dict[str, str]
    """Versions of Earmark and of the packages that compute."""
    definitions: dict[str, str]
    """Definitions of the terms and of the intervals."""
    warnings: tuple[str, ...]
    """Limits of the results that a reader must know before quoting them."""
    missing: tuple[SkippedItem, ...]
    """Items that could not be evaluated."""
    words: tuple[WordResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    speeds: tuple[EngineSpeed, ...] = ()
    """Speed of each engine, if it was measured."""
