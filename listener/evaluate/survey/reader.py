"""The traces of one survey or of many, read and merged: scores, and the hours they were heard in.

Scores are kept sparse: the runs above the floor, each closed by a zero, which is all that a trigger
needs to know. So a month of a home is some megabytes here, and any threshold can be judged.

Stretches of a day with a name: what the television played when, or what must not count. Pure.

A file of spans is text, one a line: begin, end and name, with tabs between. Times are ISO 8601
with their zone (``2026-03-04T20:15:00Z``, ``2026-03-04T21:15:00+01:00``); lines that are empty or
begin with ``#`` are passed over.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import ConfigError
from listener.evaluate.metrics.results import SkippedItem
from listener.evaluate.survey.parquet import SUFFIX, read_parquet
from listener.storage.journal import read_lines
from listener.wakeword import trace
from listener.wakeword.trace import HeardLine, OpenedLine, TraceWord

NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of time, in seconds of the Unix era."""

    begin_s: float
    end_s: float
    name: str


class Spans:
    """Spans by time. They may touch, and must not overlap."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Take them in any order.

        Raises:
            ConfigError: two overlap.
        """
        self._spans: tuple[Span, ...] = tuple(sorted(spans))
        for before, after in zip(self._spans, self._spans[1:], strict=False):
            if after.begin_s < before.end_s:
                raise ConfigError(f"{before.name} and {after.name} overlap", "one at a time")

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def at(self, time_s: float) -> Span | None:
        """Return the span that holds a moment."""
        index = bisect.bisect_right(self._spans, time_s, key=lambda span: span.begin_s) - 1
        if index >= 0 and time_s < self._spans[index].end_s:
            return self._spans[index]
        return None

    def within(self, begin_s: float, end_s: float) -> Iterator[tuple[Span, float, float]]:
        """Yield each span that a stretch touches, with begin and end of what they share."""
        index = max(0, bisect.bisect_right(self._spans, begin_s, key=lambda s: s.begin_s) - 1)
        for span in self._spans[index:]:
            if span.begin_s >= end_s:
                return
            first_s, last_s = max(span.begin_s, begin_s), min(span.end_s, end_s)
            if last_s > first_s:
                yield span, first_s, last_s

    def outside(self, begin_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Yield what is left of a stretch when the spans are taken out of it."""
        at_s = begin_s
        for _, first_s, last_s in self.within(begin_s, end_s):
            if first_s > at_s:
                yield at_s, first_s
            at_s = last_s
        if end_s > at_s:
            yield at_s, end_s


def parse_spans(text: str, source: str) -> Spans:
    """Read a file of spans.

    Args:
        text: of the file.
        source: its name, for messages.

    Raises:
        ConfigError: a line is no span, or two overlap; the message has the line's number.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            found.append(_span(line.split("\t"), f"{source}, line {number}"))
    try:
        return Spans(found)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", error.hint) from error


def _span(cells: Sequence[str], where: str) -> Span:
    hint = "begin, end and name with tabs between: 2026-03-04T20:15:00Z, …T21:00:00Z, news"
    if len(cells) != 3 or not cells[2].strip():  # noqa: PLR2004 - begin, end, name
        raise ConfigError(f"{where}: not begin, end and name", hint)
    begin_s, end_s = _time_s(cells[0], where), _time_s(cells[1], where)
    if end_s <= begin_s:
        raise ConfigError(f"{where}: it ends before it begins", hint)
    return Span(begin_s, end_s, cells[2].strip()[:NAME_CHARS])


def _time_s(text: str, where: str) -> float:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: {text.strip()[:40]!r} is no time") from error
    if time.tzinfo is None:
        raise ConfigError(f"{where}: a time without its zone", "end it with Z or +01:00")
    return time.astimezone(UTC).timestamp()


MOST_TROUBLES: Final = 50
"""Bad lines of one trace that are named; further ones are only counted."""

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Chain:
    """The scores of one word over sound without a gap."""

    device: str
    word: str
    step_samples: int
    listening: TraceWord
    ends: NDArray[np.int64]
    """Where each step ends, shape (n,); between two runs stands one step with the score 0."""
    scores: NDArray[np.float32]
    utc_s: NDArray[np.float64]
    """When each step ended, in seconds of the Unix era."""


@dataclass(slots=True)
class MergedTraces:
    """All traces together."""

    chains: list[Chain] = field(default_factory=list)
    heard_s: dict[tuple[str, int], float] = field(default_factory=lambda: defaultdict(float))
    """By device and day (since 1970, UTC), without what was excluded."""
    stimulus_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By name, over all devices; "" is what nothing was played in."""
    excluded_s: float = 0.0
    missing_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Gaps, by their reason."""
    floor: float = 0.0
    """The highest of any trace: nothing can be said below it."""
    words: dict[str, TraceWord] = field(default_factory=dict)
    troubles: list[SkippedItem] = field(default_factory=list)


def merge(paths: Iterable[Path], excluded: Spans, stimuli: Spans) -> MergedTraces:
    """Read traces, in JSON Lines or Parquet.

    Args:
        paths: of any devices and times.
        excluded: stretches that do not count, with their scores.
        stimuli: what was played when.

    Raises:
        Unavailable: a file cannot be read.
        ConfigError: two traces have different models for one word.
    """
    merged = MergedTraces()
    for path in paths:
        reader = _Reader(merged, path.name, excluded, stimuli)
        for line in read_trace(path, merged.troubles):
            reader.push(line)
        reader.close()
    return merged


def read_trace(path: Path, troubles: list[SkippedItem]) -> Iterator[trace.Line | None]:
    """Yield the lines of a trace; None in place of what is no line.

    Args:
        path: JSON Lines, or Parquet by its suffix.
        troubles: told of what is no line.

    Raises:
        Unavailable: the file cannot be read.
    """
    if path.suffix == SUFFIX:
        yield from read_parquet(path)
        return
    bad = 0
    for number, data in enumerate(read_lines(path), 1):
        try:
            line = trace.decode(data)
        except ValueError as error:
            bad += 1
            if bad <= MOST_TROUBLES:
                troubles.append(SkippedItem(item=f"{path.name}, line {number}", why=str(error)))
            yield None
        else:
            yield line
    if bad > MOST_TROUBLES:
        troubles.append(SkippedItem(item=path.name, why=f"{bad} lines are none of a trace"))


class _Run:
    """The scores of one word since the last gap."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.scores: list[float] = []
        self.utc_s: list[float] = []

    def add(self, end: int, score: float, utc_s: float, step_samples: int) -> None:
        if self.ends and end != self.ends[-1] + step_samples:
            self.rest(step_samples)
        self.ends.append(end)
        self.scores.append(score)
        self.utc_s.append(utc_s)

    def rest(self, step_samples: int) -> None:
        """Close a run by a step below every threshold."""
        self.ends.append(self.ends[-1] + step_samples)
        self.scores.append(0.0)
        self.utc_s.append(self.utc_s[-1] + step_samples / SAMPLE_RATE_HZ)


class _Reader:
    """One trace, line by line."""

    def __init__(self, merged: MergedTraces, name: str, excluded: Spans, stimuli: Spans) -> None:
        self._merged = merged
        self._name = name
        self._excluded = excluded
        self._stimuli = stimuli
        self._opened: OpenedLine | None = None
        self._runs: dict[str, _Run] = {}
        self._next_sample: int | None = None

    def push(self, line: trace.Line | None) -> None:
        match line:
            case OpenedLine():
                self.close()
                self._open(line)
            case HeardLine() if self._opened is not None:
                self._hear(line, self._opened)
            case trace.GapLine():
                self.close()
                self._merged.missing_s[line.reason] += line.length_samples / SAMPLE_RATE_HZ
            case _:
                # A damaged line, or one without its beginning: what it held is not known.
                self.close()

    def close(self) -> None:
        """End the stretch here, as a gap does."""
        opened, runs = self._opened, self._runs
        self._runs, self._next_sample = {}, None
        if opened is None:
            return
        for word, run in runs.items():
            run.rest(opened.step_samples)
            self._merged.chains.append(
                Chain(
                    device=opened.device,
                    word=word,
                    step_samples=opened.step_samples,
                    listening=opened.words[word],
                    ends=np.array(run.ends, np.int64),
                    scores=np.array(run.scores, np.float32),
                    utc_s=np.array(run.utc_s, np.float64),
                )
            )

    def _open(self, line: OpenedLine) -> None:
        self._opened = line
        self._merged.floor = max(self._merged.floor, line.floor)
        for word, listening in line.words.items():
            known = self._merged.words.setdefault(word, listening)
            if known.sha256 != listening.sha256:
                raise ConfigError(
                    f"{self._name} has another model for {word} than the traces before it",
                    "evaluate the traces of each model by themselves",
                )

    def _hear(self, line: HeardLine, opened: OpenedLine) -> None:
        if self._next_sample not in {None, line.first_sample}:
            self.close()  # a line is missing between
        self._next_sample = line.end_sample
        end_s = trace.parse_time(line.utc).timestamp()
        begin_s = end_s - (line.end_sample - line.first_sample) / SAMPLE_RATE_HZ
        self._count(opened.device, begin_s, end_s)
        step = opened.step_samples
        for word in opened.words.keys() & line.scores.keys():
            run = self._runs.setdefault(word, _Run())
            kept = line.scores[word]
            for place, score in zip(kept.steps, kept.scores, strict=True):
                end = line.first_sample + (place + 1) * step
                utc_s = end_s - (line.end_sample - end) / SAMPLE_RATE_HZ
                if self._excluded.at(utc_s) is None:
                    run.add(end, score, utc_s, step)

    def _count(self, device: str, begin_s: float, end_s: float) -> None:
        merged = self._merged
        counted_s = 0.0
        for first_s, last_s in self._excluded.outside(begin_s, end_s):
            counted_s += last_s - first_s
            # A stretch is at most a minute long; it belongs to the day it begins in.
            merged.heard_s[device, int(first_s // _DAY_S)] += last_s - first_s
            played_s = 0.0
            for span, played_from_s, played_to_s in self._stimuli.within(first_s, last_s):
                merged.stimulus_s[span.name] += played_to_s - played_from_s
                played_s += played_to_s - played_from_s
            merged.stimulus_s[""] += last_s - first_s - played_s
        merged.excluded_s += end_s - begin_s - counted_s
