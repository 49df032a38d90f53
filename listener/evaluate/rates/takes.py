"""What is left of a play when its scores have been judged: counts, events, excerpts. Pure.

It is small whatever the play's length, and is sent from the worker to where the totals are.
"""

from dataclasses import dataclass

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.engines.track import ScoreTrack
from listener.evaluate.rates.counting import false_hours
from listener.evaluate.rates.curve import CurveCounts, count_curve
from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.excerpts import ScoreHistogram, cut_excerpt
from listener.evaluate.rates.judging import MatchRule, PlayedItem, match_wakes
from listener.evaluate.rates.result import Excerpt


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
