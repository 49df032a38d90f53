"""Totals over a corpus for one word of one engine under one condition.

Several plays of one item are one exposure: counts are means over plays. Reports are added one by
one; only the events of each item are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from listener.evaluate.corpus.items import Item
from listener.evaluate.corpus.stream import StreamItem
from listener.evaluate.metrics.cost import detection_costs
from listener.evaluate.metrics.counting import CurveCounts, zero_counts
from listener.evaluate.metrics.intervals import (
    PER_10000_WORDS,
    PER_HOUR,
    PER_WORD,
    Rate,
    bootstrap,
    poisson,
    wilson,
)
from listener.evaluate.metrics.matching import TakeReport, WordReport, speaker_at
from listener.evaluate.metrics.results import (
    Breakdown,
    DetectionEvent,
    EventKind,
    Excerpt,
    Target,
    WordOutcome,
    WordResult,
)
from listener.evaluate.metrics.scores import ScoreHistogram
from listener.evaluate.metrics.statistics import (
    Hits,
    check_claims,
    curve_points,
    measure_repeatability,
)
from listener.evaluate.plan import EvaluationPlan

_HASH_DIGITS: Final = 16  # enough to tell the files of a corpus apart
RECORDING_GROUPS: Final = 4096
"""Groups of the bootstrap over recordings; more recordings than these share groups."""


@dataclass(slots=True)
class Exposure:
    """Events of a part of the corpus in all plays, and the words and hours of one play."""

    missed: int = 0
    """Misses in all plays."""
    said: int = 0
    """Labelled words."""
    false: int = 0
    """False wakes in all plays."""
    hours: float = 0.0
    """Hours outside the windows of labelled words."""


@dataclass(slots=True)
class Totals:
    """Totals of one word of one engine under one condition. Not thread-safe."""

    plays: int
    """Plays of each item."""
    items: int = 0
    clipped_samples: int = 0
    transcribed_words: int = 0
    transcribed_false: int = 0
    all: Exposure = field(default_factory=Exposure)
    speakers: dict[str, Exposure] = field(default_factory=dict)
    groups: dict[str, Exposure] = field(default_factory=dict)
    recordings: list[Exposure] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    """Number of the recording of each file, by the start of its SHA-256, or by an item's name."""
    events: list[DetectionEvent] = field(default_factory=list)
    excerpts: list[Excerpt] = field(default_factory=list)
    heights: ScoreHistogram = field(default_factory=ScoreHistogram)
    counts: CurveCounts = field(default_factory=zero_counts)
    hits: Hits = field(default_factory=dict)

    def add(self, item: Item, take: TakeReport, report: WordReport, file_hash: str = "") -> None:
        """Add the report of one play; an item's first play must be added first.

        Args:
            item: item that was played.
            take: the play.
            report: of the word.
            file_hash: SHA-256 of the item's file; items of one file are one recording of the
                bootstrap. Empty: the item is a recording of its own.
        """
        recording = self._recording(file_hash[:_HASH_DIGITS] or item.name)
        if take.play == 0:
            self._open(item, report, recording)
        self.counts = self.counts + report.counts
        self.clipped_samples += take.clipped_samples
        self.events += report.events
        self.excerpts += report.excerpts
        self.heights.said += report.heights.said
        self.heights.unsaid += report.heights.unsaid
        for index, (at_s, hit) in enumerate(report.hits):
            self.hits.setdefault((item.name, index), (at_s, []))[1].append(hit)
        for event in report.events:
            missed, false = event.kind is EventKind.MISS, event.kind is EventKind.FALSE_WAKE
            if not (missed or false):
                continue
            shares = [self.all, recording, self._group(item)]
            if event.speaker is not None:
                shares.append(self.speakers.setdefault(event.speaker, Exposure()))
            for share in shares:
                share.missed += missed
                share.false += false
            self.transcribed_false += false and _words_in(item) > 0

    def _recording(self, file: str) -> Exposure:
        """Return the exposure of the recording that a file belongs to."""
        number = self.files.setdefault(file, len(self.files)) % RECORDING_GROUPS
        if number == len(self.recordings):
            self.recordings.append(Exposure())
        return self.recordings[number]

    def _open(self, item: Item, report: WordReport, recording: Exposure) -> None:
        """Add the words and hours of a new item."""
        self.items += 1
        self.transcribed_words += _words_in(item)
        for share in (self.all, recording, self._group(item)):
            share.said += report.said
            share.hours += report.hours
        if item.segments:
            reached_s: dict[str, float] = {}
            for segment in item.segments:
                if segment.speaker is not None:
                    share = self.speakers.setdefault(segment.speaker, Exposure())
                    # Segments of one speaker may overlap.
                    begin_s = max(segment.start_s, reached_s.get(segment.speaker, 0.0))
                    reached_s[segment.speaker] = max(begin_s, segment.end_s)
                    share.hours += max(segment.end_s - begin_s, 0.0) / 3600
            if isinstance(item, StreamItem):
                self._count_said(item, report)
        elif item.speaker is not None:
            share = self.speakers.setdefault(item.speaker, Exposure())
            share.said += report.said
            share.hours += report.hours

    def _count_said(self, item: StreamItem, report: WordReport) -> None:
        """Add the words of a stream to those of their speakers."""
        for at_s, _ in report.hits:
            speaker = speaker_at(item, at_s)
            if speaker is not None:
                self.speakers.setdefault(speaker, Exposure()).said += 1

    def _group(self, item: Item) -> Exposure:
        return self.groups.setdefault(item.condition or "", Exposure())

    def outcomes(self) -> dict[tuple[str, int], bool]:
        """Return whether the first play woke, for each labelled word by item and index."""
        return {place: woke[0] for place, (_, woke) in self.hits.items()}

    def _outcomes(self) -> tuple[WordOutcome, ...]:
        return tuple(
            WordOutcome(item=item, index=index, woke=woke)
            for (item, index), woke in self.outcomes().items()
        )

    def misses(self) -> Rate:
        """Return misses per labelled word."""
        return wilson(self.all.missed / self.plays, self.all.said)

    def false_wakes(self) -> Rate:
        """Return false wakes per hour."""
        return poisson(self.all.false / self.plays, self.all.hours)

    def result(  # noqa: PLR0913 - the settings under which the result holds, by keyword
        self,
        *,
        engine: str,
        word: str,
        spoken: str,
        condition: str,
        threshold: float,
        threshold_from: str,
        target: Target | None,
        plan: EvaluationPlan,
    ) -> WordResult:
        """Return the totals as a result.

        Args:
            engine: name of the engine.
            word: name of the model.
            spoken: the word's name in labels.
            condition: name of the condition.
            threshold: threshold of the events.
            threshold_from: source of the threshold.
            target: threshold search for a requested rate, if any.
            plan: claims to check, parameters of the detection cost, seed of the bootstrap.
        """
        speakers = list(self.speakers.values())
        hits = [event for event in self.events if event.kind is EventKind.HIT]
        others = [event for event in self.events if event.kind is not EventKind.HIT]
        curve = curve_points(self.counts, self.plays, self.all.said, self.all.hours)
        return WordResult(
            engine=engine,
            word=word,
            condition=condition,
            threshold=threshold,
            threshold_from=threshold_from,
            items=self.items,
            plays=self.plays,
            hours=self.all.hours,
            words_said=self.all.said,
            misses=self.misses(),
            misses_by_speaker=bootstrap(
                [share.missed / self.plays for share in speakers],
                [share.said for share in speakers],
                PER_WORD,
                plan.seed,
            ),
            false_wakes=self.false_wakes(),
            false_wakes_by_recording=bootstrap(
                [share.false / self.plays for share in self.recordings],
                [share.hours for share in self.recordings],
                PER_HOUR,
                plan.seed,
            ),
            false_wakes_per_10000_words=poisson(
                self.transcribed_false / self.plays,
                self.transcribed_words,
                unit=PER_10000_WORDS,
                per=10_000,
            )
            if self.transcribed_words
            else None,
            claims=check_claims(self.false_wakes(), plan.claims_per_hour),
            near_misses=sum(event.kind is EventKind.NEAR_MISS for event in others),
            latency_s=_quantiles(
                [event.latency_s for event in hits if event.latency_s is not None],
                (0.5, 0.9, 0.95),
            ),
            activation_s=_quantiles(
                [event.activation_s for event in others if event.kind is EventKind.FALSE_WAKE],
                (0.5, 0.9, 1.0),
            ),
            curve=curve,
            speakers=_breakdowns(self.speakers, self.plays),
            groups=_breakdowns(self.groups, self.plays),
            events=(*others, *hits),
            repeatability=measure_repeatability(self.hits, self.events, self.plays)
            if self.plays > 1
            else (),
            said=spoken,
            target=target,
            clipped_samples=self.clipped_samples,
            histogram=self.heights.histogram(),
            excerpts=tuple(self.excerpts),
            costs=detection_costs(
                threshold,
                self.misses(),
                self.false_wakes(),
                curve,
                plan.priors,
                cost_miss=plan.cost_miss,
                cost_false_wake=plan.cost_false_wake,
            ),
            outcomes=self._outcomes(),
        )


def _breakdowns(shares: dict[str, Exposure], plays: int) -> tuple[Breakdown, ...]:
    return tuple(
        Breakdown(
            name=name,
            misses=wilson(share.missed / plays, share.said),
            false_wakes=poisson(share.false / plays, share.hours),
        )
        for name, share in sorted(shares.items())
    )


def _words_in(item: Item) -> int:
    """Return the number of words in an item's transcript."""
    text = item.transcript or " ".join(part.transcript or "" for part in item.segments)
    return len(text.split())


def _quantiles(values: Sequence[float], parts: Sequence[float]) -> tuple[float, ...]:
    """Return quantiles of ``values``, each an observed value; empty without values."""
    if not values:
        return ()
    quantiles = np.quantile(np.array(values), parts, method="inverted_cdf")
    return tuple(float(value) for value in quantiles)
