"""Reader of survey traces: merges their scores and hours, with named spans of time.

Scores are sparse: runs above the floor, each followed by a zero, which suffices for a trigger at
any threshold. A month in a home takes some megabytes of memory.

A file of spans (stimuli, or times to exclude) is text with one span a line: begin, end and name,
separated by tabs. Times are ISO 8601 with a time zone (``2026-03-04T20:15:00Z``,
``2026-03-04T21:15:00+01:00``); empty lines and lines that begin with ``#`` are ignored.
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
from listener.quantities import quantity
from listener.storage.journal import read_lines
from listener.wakeword import trace
from listener.wakeword.trace import HeardLine, OpenedLine, TraceWord

NAME_CHARS: Final = 200
"""Maximum length of a span's name."""
MOST_TROUBLES: Final = 50
"""Invalid lines of a trace that are reported one by one; further ones are only counted."""

_DAY_S: Final = 86_400
_SPAN_HINT: Final = "separate begin, end and name by tabs: 2026-03-04T20:15:00Z, …T21:00:00Z, news"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A named span of time, in seconds since 1970."""

    begin_s: float
    end_s: float
    name: str


class Spans:
    """Spans in the order of time, without overlap."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """Sort the spans.

        Raises:
            ConfigError: two spans overlap.
        """
        self._spans: tuple[Span, ...] = tuple(sorted(spans))
        for before, after in zip(self._spans, self._spans[1:], strict=False):
            if after.begin_s < before.end_s:
                raise ConfigError(
                    f"the spans {before.name} and {after.name} overlap",
                    "end each span before the next begins",
                )

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def at(self, time_s: float) -> Span | None:
        """Return the span that contains ``time_s``; None if there is none."""
        index = bisect.bisect_right(self._spans, time_s, key=lambda span: span.begin_s) - 1
        if index >= 0 and time_s < self._spans[index].end_s:
            return self._spans[index]
        return None

    def within(self, begin_s: float, end_s: float) -> Iterator[tuple[Span, float, float]]:
        """Yield each span that overlaps an interval, with begin and end of the overlap."""
        index = max(0, bisect.bisect_right(self._spans, begin_s, key=lambda s: s.begin_s) - 1)
        for span in self._spans[index:]:
            if span.begin_s >= end_s:
                return
            first_s, last_s = max(span.begin_s, begin_s), min(span.end_s, end_s)
            if last_s > first_s:
                yield span, first_s, last_s

    def outside(self, begin_s: float, end_s: float) -> Iterator[tuple[float, float]]:
        """Yield begin and end of each part of an interval that is outside all spans."""
        at_s = begin_s
        for _, first_s, last_s in self.within(begin_s, end_s):
            if first_s > at_s:
                yield at_s, first_s
            at_s = last_s
        if end_s > at_s:
            yield at_s, end_s


def parse_spans(text: str, source: str) -> Spans:
    """Parse a file of spans.

    Args:
        text: contents of the file.
        source: file name for error messages.

    Raises:
        ConfigError: a line is not a span, or two overlap; the message has the line's number.
    """
    spans = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            spans.append(_span(line.split("\t"), f"{source}, line {number}"))
    try:
        return Spans(spans)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}", error.hint) from error


def _span(cells: Sequence[str], where: str) -> Span:
    if len(cells) != 3 or not cells[2].strip():  # noqa: PLR2004 - begin, end, name
        raise ConfigError(f"{where}: expected begin, end and name", _SPAN_HINT)
    begin_s, end_s = _time_s(cells[0], where), _time_s(cells[1], where)
    if end_s <= begin_s:
        raise ConfigError(f"{where}: the end is not after the begin", _SPAN_HINT)
    return Span(begin_s, end_s, cells[2].strip()[:NAME_CHARS])


def _time_s(text: str, where: str) -> float:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{where}: {text.strip()[:40]!r} is not an ISO 8601 time") from error
    if time.tzinfo is None:
        raise ConfigError(f"{where}: a time without a time zone", "append Z or +01:00")
    return time.astimezone(UTC).timestamp()


@dataclass(frozen=True, slots=True)
class Chain:
    """Scores of one word over audio without a gap."""

    device: str
    word: str
    step_samples: int
    listening: TraceWord
    ends: NDArray[np.int64]
    """End of each step in samples, shape (n,); one step of score 0 separates two runs."""
    scores: NDArray[np.float32]
    utc_s: NDArray[np.float64]
    """End of each step in seconds since 1970, shape (n,)."""


@dataclass(slots=True)
class MergedTraces:
    """Scores and hours of all traces."""

    chains: list[Chain] = field(default_factory=list)
    heard_s: dict[tuple[str, int], float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by device and day (since 1970, UTC), without excluded spans."""
    stimulus_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by stimulus, over all devices; "" is the time without a stimulus."""
    excluded_s: float = 0.0
    """Seconds of excluded spans, over all devices."""
    missing_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds of gaps, by reason."""
    floor: float = 0.0
    """Highest floor of the traces; there are no rates below it."""
    words: dict[str, TraceWord] = field(default_factory=dict)
    troubles: list[SkippedItem] = field(default_factory=list)
    """Lines that could not be read."""
    repeated_s: float = 0.0
    """Seconds that occur in more than one trace; they are counted once."""
    counted: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """End of what is counted of each start, in samples, by device, run and time of the start."""


def merge(paths: Iterable[Path], excluded: Spans, stimuli: Spans) -> MergedTraces:
    """Read and merge traces, in JSON Lines or Parquet; what occurs in several is counted once.

    Args:
        paths: traces of any devices and times.
        excluded: spans that are not counted.
        stimuli: spans of the stimuli.

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
    """Yield the lines of a trace; None in place of an invalid line.

    Args:
        path: JSON Lines, or Parquet by its suffix.
        troubles: invalid lines are added here.

    Raises:
        Unavailable: the file cannot be read.
    """
    if path.suffix == SUFFIX:
        yield from read_parquet(path)
        return
    invalid = 0
    for number, data in enumerate(read_lines(path), 1):
        try:
            line = trace.decode(data)
        except ValueError as error:
            invalid += 1
            if invalid <= MOST_TROUBLES:
                troubles.append(SkippedItem(item=f"{path.name}, line {number}", why=str(error)))
            yield None
        else:
            yield line
    if invalid > MOST_TROUBLES:
        troubles.append(SkippedItem(item=path.name, why=quantity(invalid, "invalid line")))


class _Run:
    """Scores of one word since the last gap."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.scores: list[float] = []
        self.utc_s: list[float] = []

    def add(self, end: int, score: float, utc_s: float, step_samples: int) -> None:
        if self.ends and end != self.ends[-1] + step_samples:
            self.add_zero(step_samples)
        self.ends.append(end)
        self.scores.append(score)
        self.utc_s.append(utc_s)

    def add_zero(self, step_samples: int) -> None:
        """End a run of scores with a step of score 0."""
        self.ends.append(self.ends[-1] + step_samples)
        self.scores.append(0.0)
        self.utc_s.append(self.utc_s[-1] + step_samples / SAMPLE_RATE_HZ)


class _Reader:
    """Adds a trace to the merged traces, line by line."""

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
                if self._is_new(line.first_sample, line.first_sample + line.length_samples):
                    self._merged.missing_s[line.reason] += line.length_samples / SAMPLE_RATE_HZ
            case _:
                # An invalid line, or one before the opening line: its content is not known.
                self.close()

    def close(self) -> None:
        """End the chains of all words, as at a gap."""
        opened, runs = self._opened, self._runs
        self._runs, self._next_sample = {}, None
        if opened is None:
            return
        for word, run in runs.items():
            run.add_zero(opened.step_samples)
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
                    f"{self._name} uses a different model for {word} than the other traces",
                    "evaluate the traces of each model separately",
                )

    def _is_new(self, first_sample: int, end_sample: int) -> bool:
        """Return whether a stretch of this start is not counted yet; count it from now on."""
        if self._opened is None:
            return True
        start = self._opened.device, self._opened.run, self._opened.utc
        if first_sample < self._merged.counted.get(start, 0):
            return False
        self._merged.counted[start] = end_sample
        return True

    def _hear(self, line: HeardLine, opened: OpenedLine) -> None:
        if not self._is_new(line.first_sample, line.end_sample):
            self.close()
            self._merged.repeated_s += (line.end_sample - line.first_sample) / SAMPLE_RATE_HZ
            return
        if self._next_sample not in {None, line.first_sample}:
            self.close()  # a line between the two is missing
        self._next_sample = line.end_sample
        end_s = trace.parse_time(line.utc).timestamp()
        begin_s = end_s - (line.end_sample - line.first_sample) / SAMPLE_RATE_HZ
        self._count(opened.device, begin_s, end_s)
        step = opened.step_samples
        for word in opened.words.keys() & line.scores.keys():
            run = self._runs.setdefault(word, _Run())
            recorded = line.scores[word]
            for index, score in zip(recorded.steps, recorded.scores, strict=True):
                end = line.first_sample + (index + 1) * step
                utc_s = end_s - (line.end_sample - end) / SAMPLE_RATE_HZ
                if self._excluded.at(utc_s) is None:
                    run.add(end, score, utc_s, step)

    def _count(self, device: str, begin_s: float, end_s: float) -> None:
        merged = self._merged
        counted_s = 0.0
        for first_s, last_s in self._excluded.outside(begin_s, end_s):
            counted_s += last_s - first_s
            # A line covers at most a minute; it is counted for the day in which it begins.
            merged.heard_s[device, int(first_s // _DAY_S)] += last_s - first_s
            played_s = 0.0
            for span, played_from_s, played_to_s in self._stimuli.within(first_s, last_s):
                merged.stimulus_s[span.name] += played_to_s - played_from_s
                played_s += played_to_s - played_from_s
            merged.stimulus_s[""] += last_s - first_s - played_s
        merged.excluded_s += end_s - begin_s - counted_s
