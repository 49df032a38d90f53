"""Match the wakes of a play with the labels of its item: events, counts and excerpts. Pure.

A report is small for any length of the play; workers send it to the process that adds the totals.
"""

import bisect
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.corpus.items import Item, Segment
from listener.evaluate.engines.interface import Scores, ScoreTrack
from listener.evaluate.metrics.counting import (
    CurveCounts,
    Indices,
    Window,
    count_curve,
    count_wakes,
    false_hours,
    find_near_misses,
    find_runs,
    find_wakes,
    hit_windows,
)
from listener.evaluate.metrics.results import DetectionEvent, EventKind, Excerpt
from listener.evaluate.metrics.scores import ScoreHistogram, cut_excerpt
from listener.wakeword.detector import Rule

_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True)
class PlayedItem:
    """One play of an item under a condition."""

    item: Item
    condition: str
    number: int
    """Index of the play, from 0; each begins at another phase."""


@dataclass(frozen=True, slots=True)
class MatchRule:
    """A word to match, with its label and its trigger rule."""

    word: str
    """Name of the model."""
    said: str
    """Label of the word."""
    rule: Rule
    tail_s: float
    """Time after the end of a word in which a wake is still a hit."""

    def windows(self, item: Item, length_samples: int) -> tuple[Window, ...]:
        """Return the windows of the word's labels in an item."""
        return hit_windows(item, self.said, length_samples, self.tail_s)


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Events of a play."""

    events: tuple[DetectionEvent, ...]
    """Events in the order of time."""
    windows: tuple[Window, ...]
    """Windows of the labelled words."""
    missed: frozenset[int]
    """Indices of the windows without a wake."""


@dataclass(frozen=True, slots=True)
class WordReport:
    """Counts, events and excerpts of one word in one play."""

    word: str
    said: int
    """Number of labelled words."""
    hours: float
    """Hours outside the windows of labelled words."""
    counts: CurveCounts
    events: tuple[DetectionEvent, ...]
    hits: tuple[tuple[float, bool], ...]
    """Begin of each labelled word's window in seconds, and whether it has a hit; in order."""
    heights: ScoreHistogram
    excerpts: tuple[Excerpt, ...]


@dataclass(frozen=True, slots=True)
class TakeReport:
    """Reports of one play with one engine under one condition."""

    engine: int
    """Index of the engine."""
    condition: int
    """Index of the condition."""
    play: int
    length_samples: int
    clipped_samples: int
    words: tuple[WordReport, ...]


def match_wakes(play: PlayedItem, track: ScoreTrack, match_rule: MatchRule) -> MatchResult:
    """Return the hits, misses, false wakes and near misses of a play.

    Args:
        play: the item and the play.
        track: its scores.
        match_rule: the word and its trigger rule.
    """
    word, rule = match_rule.word, match_rule.rule
    ends, scores = track.end_samples(), track.of(word)
    windows = match_rule.windows(play.item, track.length_samples)
    woken = find_wakes(ends, scores, rule)
    counts = count_wakes(ends, woken, windows)
    builder = _EventBuilder(
        play=play,
        word=word,
        ends=ends,
        scores=scores,
        above=find_runs(scores, rule.threshold),
        step_samples=track.step_samples,
    )
    events = [builder.wake(EventKind.FALSE_WAKE, step, None) for step in counts.false_wakes]
    events += [
        builder.wake(EventKind.HIT, step, windows[index].word_end_sample)
        for index, step in counts.hits
    ]
    events += [
        builder.miss(windows[index], min(windows[index].end_sample, track.length_samples))
        for index in counts.misses
    ]
    events += [
        builder.near_miss(step)
        for step in find_near_misses(ends, scores, rule, woken).tolist()
        if not any(window.first_sample < ends[step] <= window.end_sample for window in windows)
    ]
    in_order = tuple(sorted(events, key=lambda event: (event.at_s, event.kind)))
    return MatchResult(in_order, windows, frozenset(counts.misses))


def word_report(play: PlayedItem, track: ScoreTrack, match_rule: MatchRule) -> WordReport:
    """Return the report of a word in a play: events at its threshold, counts at every threshold.

    Args:
        play: the item and the play.
        track: its scores, with a column for the word.
        match_rule: the word and its trigger rule.
    """
    ends, scores = track.end_samples(), track.of(match_rule.word)
    result = match_wakes(play, track, match_rule)
    inside = np.zeros(len(scores), bool)
    peaks = []
    for window in result.windows:
        in_window = (ends > window.first_sample) & (ends <= window.end_sample)
        peaks.append(float(np.max(scores[in_window], initial=0.0)))
        inside |= in_window
    heights = ScoreHistogram()
    heights.add(np.array(peaks, np.float32), scores[~inside])
    return WordReport(
        word=match_rule.word,
        said=len(result.windows),
        hours=false_hours(track.length_samples, result.windows),
        counts=count_curve(ends, scores, match_rule.rule, result.windows),
        events=result.events,
        hits=tuple(
            (window.first_sample / SAMPLE_RATE_HZ, index not in result.missed)
            for index, window in enumerate(result.windows)
        ),
        heights=heights,
        excerpts=tuple(
            cut_excerpt(track, event)
            for event in result.events
            if event.kind is EventKind.FALSE_WAKE
        ),
    )


def speaker_at(item: Item, at_s: float) -> str | None:
    """Return the speaker at ``at_s``; None if the corpus does not name one."""
    segment = _segment(item, at_s)
    return segment.speaker if segment else item.speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventBuilder:
    """Builder that fills in the fields that the events of one play share."""

    play: PlayedItem
    word: str
    ends: Indices
    scores: Scores
    above: list[tuple[int, int]]
    """Runs of steps at or above the threshold: first step and end (exclusive)."""
    step_samples: int

    def wake(self, kind: EventKind, step: int, word_end_sample: int | None) -> DetectionEvent:
        """Return a hit or a false wake."""
        first, end = self.above[bisect.bisect_right(self.above, (step, len(self.scores))) - 1]
        at_sample = int(self.ends[step])
        latency_s = None if word_end_sample is None else _seconds(at_sample - word_end_sample)
        return self._event(
            kind,
            at_sample,
            score=float(self.scores[step]),
            peak=float(self.scores[first:end].max()),
            activation_s=_seconds((end - first) * self.step_samples),
            latency_s=latency_s,
        )

    def miss(self, window: Window, end_sample: int) -> DetectionEvent:
        """Return the miss of a labelled word."""
        ends = self.ends
        inside = self.scores[(ends > window.first_sample) & (ends <= window.end_sample)]
        highest = float(np.max(inside, initial=0.0))
        return self._event(EventKind.MISS, end_sample, score=highest, peak=highest)

    def near_miss(self, step: int) -> DetectionEvent:
        """Return the near miss with its peak at ``step``."""
        peak = float(self.scores[step])
        return self._event(EventKind.NEAR_MISS, int(self.ends[step]), score=peak, peak=peak)

    def _event(  # noqa: PLR0913 - the fields of an event
        self,
        kind: EventKind,
        at_sample: int,
        *,
        score: float,
        peak: float,
        activation_s: float = 0.0,
        latency_s: float | None = None,
    ) -> DetectionEvent:
        item, at_s = self.play.item, _seconds(at_sample)
        segment = _segment(item, at_s)
        return DetectionEvent(
            kind=kind,
            word=self.word,
            item=item.name,
            condition=self.play.condition,
            play=self.play.number,
            at_s=at_s,
            score=score,
            peak=peak,
            activation_s=activation_s,
            latency_s=latency_s,
            speaker=segment.speaker if segment else item.speaker,
            clip=segment.clip if segment else None,
            transcript=segment.transcript if segment else item.transcript,
        )


def _segment(item: Item, at_s: float) -> Segment | None:
    """Return the last segment that begins at or before ``at_s``."""
    after = bisect.bisect_right(item.segments, at_s, key=lambda segment: segment.start_s)
    return item.segments[after - 1] if after else None


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE_HZ, _DECIMALS)
