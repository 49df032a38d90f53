"""A play's scores become events: what happened, where, and who spoke. Pure.

What is left of a play when its scores have been judged: counts, events, excerpts. Pure.

It is small whatever the play's length, and is sent from the worker to where the totals are.
"""

import bisect
from dataclasses import dataclass

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

_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class PlayedItem:
    """An item as it was played: under which condition, for which time."""

    item: Item
    condition: str
    number: int
    """From 0; each begins at another phase."""


@dataclass(frozen=True, slots=True)
class MatchRule:
    """A word that is listened for, and when it counts as heard."""

    word: str
    """Name of the model."""
    said: str
    """What labels call the word."""
    rule: Rule
    tail_s: float
    """How long after its end a word may still be heard."""

    def places(self, item: Item, length_samples: int) -> tuple[Window, ...]:
        """Return the windows of an item in which a wake is a hit."""
        return hit_windows(item, self.said, length_samples, self.tail_s)


@dataclass(frozen=True, slots=True)
class MatchResult:
    """What happened in a play."""

    events: tuple[DetectionEvent, ...]
    """In the order of time."""
    places: tuple[Window, ...]
    """Of the labelled words."""
    missed: frozenset[int]
    """Which of the places had no wake."""


def match_wakes(play: PlayedItem, track: ScoreTrack, watch: MatchRule) -> MatchResult:
    """Tell hits, misses, false wakes and near misses.

    Args:
        play: what was played.
        track: its scores.
        watch: the word and its rule.
    """
    word, rule = watch.word, watch.rule
    ends, scores = track.end_samples(), track.of(word)
    places = watch.places(play.item, track.length_samples)
    woken = find_wakes(ends, scores, rule)
    counted = count_wakes(ends, woken, places)
    maker = _EventBuilder(
        play=play,
        word=word,
        ends=ends,
        scores=scores,
        above=find_runs(scores, rule.threshold),
        step_samples=track.step_samples,
    )
    found = [maker.wake(EventKind.FALSE_WAKE, step, None) for step in counted.false_wakes]
    found += [
        maker.wake(EventKind.HIT, step, places[index].word_end_sample)
        for index, step in counted.hits
    ]
    found += [
        maker.miss(places[index], min(places[index].end_sample, track.length_samples))
        for index in counted.misses
    ]
    found += [
        maker.near_miss(step)
        for step in find_near_misses(ends, scores, rule, woken).tolist()
        if not any(place.first_sample < ends[step] <= place.end_sample for place in places)
    ]
    in_order = tuple(sorted(found, key=lambda event: (event.at_s, event.kind)))
    return MatchResult(in_order, places, frozenset(counted.misses))


def speaker_at(item: Item, at_s: float) -> str | None:
    """Say who spoke at ``at_s``, as far as the corpus does."""
    segment = _segment(item, at_s)
    return segment.speaker if segment else item.speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventBuilder:
    """Fills in what the events of one play have in common."""

    play: PlayedItem
    word: str
    ends: Indices
    scores: Scores
    above: list[tuple[int, int]]
    """The runs of steps at or above the threshold, first included and end not."""
    step_samples: int

    def wake(self, kind: EventKind, step: int, word_end_sample: int | None) -> DetectionEvent:
        """Return a hit or a false wake."""
        first, end = self.above[bisect.bisect_right(self.above, (step, len(self.scores))) - 1]
        at_sample = int(self.ends[step])
        late = None if word_end_sample is None else _seconds(at_sample - word_end_sample)
        return self._made(
            kind,
            at_sample,
            score=float(self.scores[step]),
            peak=float(self.scores[first:end].max()),
            activation_s=_seconds((end - first) * self.step_samples),
            latency_s=late,
        )

    def miss(self, place: Window, end_sample: int) -> DetectionEvent:
        """Return a word without a wake."""
        ends = self.ends
        inside = self.scores[(ends > place.first_sample) & (ends <= place.end_sample)]
        highest = float(np.max(inside, initial=0.0))
        return self._made(EventKind.MISS, end_sample, score=highest, peak=highest)

    def near_miss(self, step: int) -> DetectionEvent:
        """Return a run of scores that stayed too low, or too short."""
        peak = float(self.scores[step])
        return self._made(EventKind.NEAR_MISS, int(self.ends[step]), score=peak, peak=peak)

    def _made(  # noqa: PLR0913 - an event's own fields
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
    """Find the stretch in which something happened, or the one that had just ended."""
    after = bisect.bisect_right(item.segments, at_s, key=lambda segment: segment.start_s)
    return item.segments[after - 1] if after else None


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE_HZ, _DECIMALS)


@dataclass(frozen=True, slots=True)
class WordReport:
    """What one word made of one play."""

    word: str
    said: int
    """Labelled words."""
    hours: float
    counts: CurveCounts
    events: tuple[DetectionEvent, ...]
    hits: tuple[tuple[float, bool], ...]
    """Of each labelled word, in the order of time: where its window opens, and whether it woke."""
    heights: ScoreHistogram
    excerpts: tuple[Excerpt, ...]


@dataclass(frozen=True, slots=True)
class TakeReport:
    """One play under one condition to one engine."""

    engine: int
    condition: int
    play: int
    length_samples: int
    clipped_samples: int
    words: tuple[WordReport, ...]


def word_report(play: PlayedItem, track: ScoreTrack, watch: MatchRule) -> WordReport:
    """Count what a word made of a play, at its own threshold and at every other.

    Args:
        play: the item as it was played.
        track: its scores; the word has a column.
        watch: the word, and when it counts as heard.
    """
    ends, scores = track.end_samples(), track.of(watch.word)
    judged = match_wakes(play, track, watch)
    inside = np.zeros(len(scores), bool)
    peaks = []
    for place in judged.places:
        here = (ends > place.first_sample) & (ends <= place.end_sample)
        peaks.append(float(np.max(scores[here], initial=0.0)))
        inside |= here
    heights = ScoreHistogram()
    heights.add(np.array(peaks, np.float32), scores[~inside])
    return WordReport(
        word=watch.word,
        said=len(judged.places),
        hours=false_hours(track.length_samples, judged.places),
        counts=count_curve(ends, scores, watch.rule, judged.places),
        events=judged.events,
        hits=tuple(
            (place.first_sample / SAMPLE_RATE_HZ, index not in judged.missed)
            for index, place in enumerate(judged.places)
        ),
        heights=heights,
        excerpts=tuple(
            cut_excerpt(track, event)
            for event in judged.events
            if event.kind is EventKind.FALSE_WAKE
        ),
    )
