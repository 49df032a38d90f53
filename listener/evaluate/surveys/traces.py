"""The traces of one survey or of many, read and merged: scores, and the hours they were heard in.

Scores are kept sparse: the runs above the floor, each closed by a zero, which is all that a trigger
needs to know. So a month of a home is some megabytes here, and any threshold can be judged.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import ConfigError
from listener.evaluate.rates.result import SkippedItem
from listener.evaluate.surveys.parquet import SUFFIX, read_parquet
from listener.evaluate.surveys.spans import Spans
from listener.storage.journal import read_lines
from listener.wakeword import trace
from listener.wakeword.trace import HeardLine, OpenedLine, TraceWord

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
