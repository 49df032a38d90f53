"""Figures of a result, in the order of the page: number, title, chart and data. Pure.

The page and the files of the folder ``figures`` are made from the same figures, so that a number
means the same in both.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import Breakdown, EventKind, Result, WordResult
from listener.evaluate.report import charts

LONGEST_STEM: Final = 80
"""Characters of a file name without its ending."""

Cell = str | float | None
Row = tuple[Cell, ...]

_UNFIT: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its data."""

    number: int
    """Number in the page, from 1."""
    kind: str
    """``det``, ``thresholds``, ``histogram``, ``speakers``, ``groups``, ``false-groups``, or
    ``timeline``."""
    title: str
    svg: str
    """Markup of ``SvgChart.svg``."""
    head: tuple[str, ...]
    """Names of the columns of the data."""
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def stem(self) -> str:
        """Name of its files without the ending: ASCII letters, digits and hyphens."""
        plain = unicodedata.normalize("NFKD", self.title).encode("ascii", "ignore").decode()
        slug = _UNFIT.sub("-", plain.lower()).strip("-")
        return f"figure-{self.number:02}-{slug}"[:LONGEST_STEM].rstrip("-")


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """Figures of one engine; None for each that it has no data for."""

    word: WordResult
    histogram: Figure | None
    speakers: Figure | None
    groups: Figure | None
    false_groups: Figure | None
    timeline: Figure | None


@dataclass(frozen=True, slots=True)
class SectionFigures:
    """Figures of one word under one condition."""

    words: tuple[WordResult, ...]
    det: Figure | None
    thresholds: Figure | None
    engines: tuple[EngineFigures, ...]


def collect_sections(result: Result) -> tuple[SectionFigures, ...]:
    """Return the figures of each word under each condition, numbered in the order of the page."""
    groups: dict[tuple[str, str], list[WordResult]] = {}
    for word in result.words:
        groups.setdefault((word.word, word.condition), []).append(word)
    counter = _Counter()
    return tuple(_section(words, counter) for words in groups.values())


def list_all(sections: Iterable[SectionFigures]) -> list[Figure]:
    """Return every figure, by number."""
    figures = []
    for section in sections:
        figures += [section.det, section.thresholds]
        for engine in section.engines:
            figures += [engine.histogram, engine.speakers, engine.groups, engine.false_groups]
            figures.append(engine.timeline)
    return [figure for figure in figures if figure is not None]


class _Counter:
    """Counter of the figures. Not thread-safe."""

    def __init__(self) -> None:
        self._number = 0

    def make(
        self, kind: str, names: Sequence[str], svg: str, head: Sequence[str], rows: Iterable[Row]
    ) -> Figure:
        """Return the next figure; its title is its kind with the names."""
        self._number += 1
        title = " ".join((kind, *names))
        return Figure(self._number, kind, title, svg, tuple(head), tuple(rows))


def _section(words: Sequence[WordResult], counter: _Counter) -> SectionFigures:
    with_curve = [word for word in words if word.curve]
    with_both = [word for word in with_curve if word.words_said and word.hours]
    names = (words[0].word, words[0].condition)
    head = ("engine", "threshold", *_head("misses"), *_head("false_wakes_per_hour"))
    det = thresholds = None
    if with_both:
        det = counter.make("det", names, charts.draw_det(with_both), head, _curves(with_both))
    if any(word.hours for word in with_curve):
        thresholds = counter.make(
            "thresholds", names, charts.draw_thresholds(with_curve), head, _curves(with_curve)
        )
    return SectionFigures(
        tuple(words), det, thresholds, tuple(_engine(word, counter) for word in words)
    )


def _engine(word: WordResult, counter: _Counter) -> EngineFigures:
    names = (word.word, word.condition, word.engine)
    false = [event for event in word.events if event.kind is EventKind.FALSE_WAKE]
    lengths_s = {excerpt.item: excerpt.length_s for excerpt in word.excerpts}
    speakers = [row for row in word.speakers if row.misses.exposure]
    groups = [row for row in word.groups if row.misses.exposure]
    false_groups = [row for row in word.groups if row.false_wakes.exposure]
    histogram = timeline = None
    if word.histogram is not None:
        bins = len(word.histogram.said)
        histogram = counter.make(
            "histogram",
            names,
            charts.draw_histogram(word.histogram, word.threshold),
            ("from", "to", "labelled_words", "steps_outside_the_words"),
            (
                (index / bins, (index + 1) / bins, said, unsaid)
                for index, (said, unsaid) in enumerate(
                    zip(word.histogram.said, word.histogram.unsaid, strict=True)
                )
            ),
        )
    by_speaker = _misses(speakers, "speakers", names, counter)
    by_group = _misses(groups, "groups", names, counter)
    false_by_group = None
    if len(false_groups) > 1:
        false_by_group = counter.make(
            "false-groups",
            names,
            charts.draw_false_breakdown(false_groups),
            ("group", *_head("false_wakes_per_hour")),
            ((row.name, *_cells(row.false_wakes)) for row in false_groups),
        )
    if false:
        timeline = counter.make(
            "timeline",
            names,
            charts.draw_timeline(false, lengths_s),
            ("item", "at_s", "peak", "length_s"),
            ((event.item, event.at_s, event.peak, lengths_s.get(event.item)) for event in false),
        )
    return EngineFigures(word, histogram, by_speaker, by_group, false_by_group, timeline)


def _misses(
    rows: Sequence[Breakdown], kind: str, names: Sequence[str], counter: _Counter
) -> Figure | None:
    if not rows:
        return None
    return counter.make(
        kind,
        names,
        charts.draw_breakdown(rows),
        (kind.removesuffix("s"), *_head("misses")),
        ((row.name, *_cells(row.misses)) for row in rows),
    )


def _curves(words: Sequence[WordResult]) -> Iterable[Row]:
    for word in words:
        for point in word.curve:
            yield (
                *(word.engine, point.threshold),
                *_cells(point.misses),
                *_cells(point.false_wakes),
            )


def _head(name: str) -> tuple[str, ...]:
    return (name, *(f"{name}_{part}" for part in ("low", "high", "count", "exposure")))


def _cells(rate: Rate) -> Row:
    return rate.value, rate.low, rate.high, rate.count, rate.exposure
