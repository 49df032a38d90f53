"""Everything an evaluation found, as it is written to ``result.json``.

The report, the tables and the comparison read this and nothing else. msgspec writes it; keys are
the field names. Nothing in it depends on the clock, the machine's load or the number of workers.

What happened when an item was played: hits, misses, false wakes, near misses.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from listener.evaluate.metrics.intervals import Rate


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


FORMAT: Final = "earmark-evaluation/1"


class ResultTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the result."""


class Point(ResultTable, frozen=True, kw_only=True):
    """One threshold of the curve."""

    threshold: float
    misses: Rate
    false_wakes: Rate


class Hours(ResultTable, frozen=True, kw_only=True):
    """What is still to be heard before a claim can be made."""

    claim_per_hour: float
    """The claim: fewer false wakes per hour than this."""
    carried: bool
    """Whether these hours carry it: the upper end of the interval is below."""
    still_needed_h: float | None
    """How many hours more, if not one more false wake comes; None where the whole interval lies
    above the claim: these sounds speak against it."""


class Target(ResultTable, frozen=True, kw_only=True):
    """The threshold for a rate of false wakes, as far as these hours can tell it."""

    per_hour: float
    threshold: float | None
    """The lowest with at most this rate here; None where every threshold has more."""
    low: float | None
    """The lowest threshold at which the interval still holds the rate, or lies under it."""
    high: float | None
    """The lowest at which the whole interval lies under the rate; None: these hours name none."""
    carried: bool
    """Whether at ``threshold`` these hours carry the claim of fewer than the rate."""
    still_needed_h: float | None
    """How many hours more it takes, if not one more false wake comes; None without a threshold."""


class Breakdown(ResultTable, frozen=True, kw_only=True):
    """The rates of one speaker, or of one condition of the corpus."""

    name: str
    misses: Rate
    false_wakes: Rate


class Repeatability(ResultTable, frozen=True, kw_only=True):
    """A word or a false wake that was played several times."""

    kind: str
    item: str
    at_s: float
    fired: int
    """k: in how many plays."""
    plays: int
    """n."""


class Histogram(ResultTable, frozen=True, kw_only=True):
    """How high scores were: counts in bins of equal width from 0 to 1."""

    said: tuple[int, ...]
    """Of the highest score in each labelled word's window."""
    unsaid: tuple[int, ...]
    """Of every step outside all windows."""


class Excerpt(ResultTable, frozen=True, kw_only=True):
    """The scores around an event."""

    item: str
    play: int
    at_s: float
    """The event's; item, play and this find it."""
    length_s: float
    """Of the item."""
    first_s: float
    """Where the first step ends."""
    step_s: float
    """From one score to the next."""
    scores: tuple[float, ...]


class WordResult(ResultTable, frozen=True, kw_only=True):
    """One word of one engine under one condition."""

    engine: str
    """Name of the engine and its settings in the plan."""
    word: str
    condition: str
    threshold: float
    threshold_from: str
    """``manifest``, ``settings`` or ``target``."""
    items: int
    plays: int
    hours: float
    """Sound outside every window of a labelled word: where a wake would be false."""
    words_said: int
    """Labelled words."""
    misses: Rate
    misses_by_speaker: Rate | None
    """The same with the bootstrap over speakers; None where fewer than two are known."""
    false_wakes: Rate
    false_wakes_by_recording: Rate | None
    """The same with the bootstrap over whole recordings."""
    false_wakes_per_10000_words: Rate | None
    """Over what was transcribed; None where nothing is."""
    claims: tuple[Hours, ...]
    near_misses: int
    latency_s: tuple[float, ...]
    """Median, 90th and 95th percentile of hits whose word was placed; empty without any."""
    activation_s: tuple[float, ...]
    """Median, 90th percentile and longest of the false wakes' activations."""
    curve: tuple[Point, ...]
    speakers: tuple[Breakdown, ...]
    groups: tuple[Breakdown, ...]
    """By ``Item.condition``."""
    events: tuple[DetectionEvent, ...]
    """Misses, false wakes and near misses at the threshold, then hits; by item, play and time."""
    repeatability: tuple[Repeatability, ...]
    said: str = ""
    """What labels call the word."""
    target: Target | None = None
    """Where the threshold comes from a rate that was asked for."""
    clipped_samples: int = 0
    """How many samples mixing drove beyond the range of int16."""
    histogram: Histogram | None = None
    excerpts: tuple[Excerpt, ...] = ()
    """Around each false wake, for the report's pictures; see ``excerpts.py``."""


class Comparison(ResultTable, frozen=True, kw_only=True):
    """Two engines or settings for one word, on the same sounds, in the first play of each."""

    word: str
    """As the labels call it."""
    condition: str
    first: str
    """Name of the engine."""
    second: str
    words_said: int
    both_missed: int
    only_first_missed: int
    only_second_missed: int
    misses_p: float
    """McNemar's exact test: how likely so uneven a split is if both miss equally often."""
    both_false: int
    """False wakes of both within a refractory of each other."""
    only_first_false: int
    only_second_false: int
    false_wakes_p: float
    """Binomial test of the false wakes that only one of the two has."""
    ratio_low: float
    """Of those of the first to those of the second, with ``ratio_high`` the interval."""
    ratio_high: float | None


class SkippedItem(ResultTable, frozen=True, kw_only=True):
    """An item that is not in the figures, or not whole."""

    item: str
    why: str


class Result(ResultTable, frozen=True, kw_only=True):
    """The whole of it."""

    format: str = FORMAT
    plan: dict[str, object]
    """The plan as it was run, every default filled in."""
    hashes: dict[str, str]
    """SHA-256 of each model, of the settings, of the corpus and of the code."""
    versions: dict[str, str]
    """Of Earmark and of the packages that compute."""
    definitions: dict[str, str]
    """What a hit, a false wake, an hour and each interval are, in words."""
    warnings: tuple[str, ...]
    """What a reader must know before quoting a number."""
    missing: tuple[SkippedItem, ...]
    """What could not be played; everything else went on."""
    words: tuple[WordResult, ...]
    comparisons: tuple[Comparison, ...] = ()
