"""Rates at any threshold from the traces of a survey. Pure.

A survey cannot know whether the word was said: every wake outside the excluded stretches counts as
false. What is told of each threshold is what the device would have done, since patience and
refractory are judged on the same scores; below the floor of the traces nothing is told.

The moments of a trace that count: wakes and near misses, with what is known of each. Pure.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.errors import UsageError
from listener.evaluate.metrics import counting, intervals, statistics
from listener.evaluate.metrics.results import (
    Breakdown,
    DetectionEvent,
    EventKind,
    Excerpt,
    Histogram,
    Point,
    Repeatability,
    WordResult,
)
from listener.evaluate.metrics.scores import AFTER_S, BEFORE_S
from listener.evaluate.survey.reader import Chain, MergedTraces, Span, Spans
from listener.wakeword.detector import Rule

CONDITION: Final = "as heard"

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Moment:
    """A wake or a near miss, with what is known of it."""

    event: DetectionEvent
    device: str
    day: int
    utc_s: float
    span: Span | None
    excerpt: Excerpt


def find_moments(chain: Chain, stimuli: Spans, threshold: float) -> Iterator[Moment]:
    """Yield wakes and near misses of a chain.

    Args:
        chain: scores over sound without a gap.
        stimuli: what was played when.
        threshold: by which to judge; patience and refractory are the device's.
    """
    rule = build_chain_rule(chain, threshold)
    woken = counting.find_wakes(chain.ends, chain.scores, rule)
    near = counting.find_near_misses(chain.ends, chain.scores, rule, woken)
    runs = counting.find_runs(chain.scores, threshold)
    for step in woken.tolist():
        first, end = next(run for run in reversed(runs) if run[0] <= step)
        peak = float(chain.scores[first:end].max())
        held_s = (end - first) * chain.step_samples / SAMPLE_RATE_HZ
        yield _moment(chain, stimuli, EventKind.FALSE_WAKE, step, peak=peak, held_s=held_s)
    for step in near.tolist():
        peak = float(chain.scores[step])
        yield _moment(chain, stimuli, EventKind.NEAR_MISS, step, peak=peak, held_s=0.0)


def build_chain_rule(chain: Chain, threshold: float) -> Rule:
    """Return what makes a wake of a chain's scores, with another threshold."""
    listening = chain.listening
    return Rule(
        threshold=threshold,
        patience_steps=listening.patience_steps,
        refractory_samples=listening.refractory_samples,
        near_miss_threshold=listening.near_miss_threshold,
    )


def _moment(  # noqa: PLR0913 - where in a trace, and what was seen there
    chain: Chain, stimuli: Spans, kind: EventKind, step: int, *, peak: float, held_s: float
) -> Moment:
    utc_s = float(chain.utc_s[step])
    day = int(utc_s // _DAY_S)
    span = stimuli.at(utc_s)
    at_s = round(utc_s - day * _DAY_S, 3)
    item = f"{chain.device} {_date(day)}"
    event = DetectionEvent(
        kind=kind,
        word=chain.word,
        item=item,
        condition=CONDITION,
        play=0,
        at_s=at_s,
        score=float(chain.scores[step]),
        peak=peak,
        activation_s=held_s,
        clip=f"{span.name} +{timedelta(seconds=round(utc_s - span.begin_s))}" if span else None,
    )
    return Moment(event, chain.device, day, utc_s, span, _excerpt(chain, step, item, at_s))


def _excerpt(chain: Chain, step: int, item: str, at_s: float) -> Excerpt:
    """Return the scores around a step; what lies below the floor is drawn as nothing."""
    size = chain.step_samples
    before = round(BEFORE_S * SAMPLE_RATE_HZ / size)
    after = round(AFTER_S * SAMPLE_RATE_HZ / size)
    scores = np.zeros(before + after + 1)
    places = (chain.ends - chain.ends[step]) // size + before
    inside = (places >= 0) & (places < len(scores))
    scores[places[inside]] = chain.scores[inside]
    step_s = size / SAMPLE_RATE_HZ
    return Excerpt(
        item=item,
        play=0,
        at_s=at_s,
        length_s=_DAY_S,
        first_s=at_s - before * step_s,
        step_s=step_s,
        scores=tuple(round(score, 4) for score in scores.tolist()),
    )


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_S, UTC).date().isoformat()


ENGINE: Final = "survey"
CLAIMS_PER_HOUR: Final = (1.0, 0.5, 0.1, 1 / 24)
DEFINITIONS: Final = {
    "false wake": "a wake outside the excluded stretches; a survey cannot know what was said",
    "hour": "an hour that one device heard, without gaps and without excluded stretches",
    "day": "a day of one device, by UTC",
    "gap": "muted, lost or overrun sound; nothing spans it, and it is no part of any hour",
    "play": "one stretch of a time line of stimuli, heard by one device",
    "interval": "exact Poisson, and besides the bootstrap over days of devices",
    "threshold": "patience and refractory are those of the device; below the floor of the traces"
    " nothing can be said",
}

_HOUR_S: Final = 3_600
_SAME_S: Final = 1.5
"""Wakes at places of one stimulus that are no further apart are the same place: clocks differ."""
_NO_WORDS: Final = intervals.wilson(0, 0)


def compute_rates(
    merged: MergedTraces, stimuli: Spans, thresholds: Mapping[str, float]
) -> tuple[WordResult, ...]:
    """Return the rates of each word of merged traces.

    Args:
        merged: of all devices.
        stimuli: what was played when.
        thresholds: by word; the device's own where none is given.

    Raises:
        UsageError: a threshold below the floor, or of a word that no trace has.
    """
    for word, threshold in thresholds.items():
        if word not in merged.words:
            raise UsageError(
                f"no trace has scores of {word}", f"there is {', '.join(merged.words)}"
            )
        if threshold < merged.floor:
            raise UsageError(
                f"a threshold of {threshold} lies below the floor of {merged.floor}",
                "scores below the floor were not kept; survey with a lower --floor",
            )
    return tuple(
        _word(merged, stimuli, word, thresholds.get(word)) for word in sorted(merged.words)
    )


def list_warnings(merged: MergedTraces, words: Sequence[WordResult]) -> tuple[str, ...]:
    """Return what a reader must know before quoting a rate."""
    found = []
    if not merged.heard_s:
        found.append("nothing was heard: there is no rate")
    if merged.excluded_s == 0 and any(word.events for word in words):
        found.append(
            "nothing was excluded: if anybody said the word on purpose, that counts as a false wake"
        )
    found += [
        f"{missing_s / _HOUR_S:.3g} hours are missing ({reason}), and are in no rate"
        for reason, missing_s in sorted(merged.missing_s.items())
        if missing_s >= 1
    ]
    if merged.troubles:
        found.append("a part of the traces could not be read, and is in no rate")
    return tuple(found)


def _word(merged: MergedTraces, stimuli: Spans, word: str, threshold: float | None) -> WordResult:
    own = merged.words[word].threshold
    chains = [chain for chain in merged.chains if chain.word == word]
    used = own if threshold is None else threshold
    found = [one for chain in chains for one in find_moments(chain, stimuli, used)]
    found.sort(key=lambda one: (one.event.item, one.event.at_s))
    wakes = [one for one in found if one.event.kind is EventKind.FALSE_WAKE]
    hours = sum(merged.heard_s.values()) / _HOUR_S
    days = sorted(merged.heard_s)
    by_day = Counter((one.device, one.day) for one in wakes)
    false_wakes = intervals.poisson(len(wakes), hours)
    activations = [one.event.activation_s for one in wakes]
    return WordResult(
        engine=ENGINE,
        word=word,
        condition=CONDITION,
        threshold=used,
        threshold_from="trace" if threshold is None else "settings",
        items=len(days),
        plays=1,
        hours=hours,
        words_said=0,
        misses=_NO_WORDS,
        misses_by_speaker=None,
        false_wakes=false_wakes,
        false_wakes_by_recording=intervals.bootstrap(
            [by_day.get(day, 0) for day in days],
            [merged.heard_s[day] / _HOUR_S for day in days],
            intervals.PER_HOUR,
            seed=0,
        ),
        false_wakes_per_10000_words=None,
        claims=statistics.check_claims(false_wakes, CLAIMS_PER_HOUR),
        near_misses=sum(one.event.kind is EventKind.NEAR_MISS for one in found),
        latency_s=(),
        activation_s=_quantiles(activations),
        curve=_curve(chains, hours, merged.floor),
        speakers=(),
        groups=_groups(merged, wakes),
        events=tuple(one.event for one in found),
        repeatability=tuple(_repeats(merged, stimuli, wakes)),
        histogram=_histogram(chains),
        excerpts=tuple(one.excerpt for one in wakes),
    )


def _curve(chains: Sequence[Chain], hours: float, floor: float) -> tuple[Point, ...]:
    counts = counting.zero_counts()
    for chain in chains:
        counts += counting.count_curve(chain.ends, chain.scores, build_chain_rule(chain, 0.5), ())
    found = statistics.curve_points(counts, plays=1, spoken=0, hours=hours)
    return tuple(point for point in found if point.threshold >= floor)


def _groups(merged: MergedTraces, wakes: Sequence[Moment]) -> tuple[Breakdown, ...]:
    """Return the rates of each device and of each stimulus."""
    device_s: dict[str, float] = defaultdict(float)
    for (device, _), heard_s in merged.heard_s.items():
        device_s[device] += heard_s
    by_device = Counter(one.device for one in wakes)
    rows = [_row(f"device {name}", by_device.get(name, 0), device_s[name]) for name in device_s]
    if merged.stimulus_s.keys() - {""}:
        by_name = Counter(one.span.name if one.span else "" for one in wakes)
        rows += [
            _row(f"playing {name}" if name else "nothing playing", by_name.get(name, 0), heard_s)
            for name, heard_s in merged.stimulus_s.items()
            if heard_s > 0
        ]
    return tuple(sorted(rows, key=lambda row: row.name))


def _row(name: str, count: int, heard_s: float) -> Breakdown:
    rate = intervals.poisson(count, heard_s / _HOUR_S)
    return Breakdown(name=name, misses=_NO_WORDS, false_wakes=rate)


def _repeats(
    merged: MergedTraces, stimuli: Spans, wakes: Sequence[Moment]
) -> Iterable[Repeatability]:
    """Yield each place of a stimulus that woke a device, and in how many plays it did."""
    devices = len({device for device, _ in merged.heard_s})
    plays = Counter(span.name for span in stimuli)
    places: dict[str, list[tuple[float, Moment]]] = defaultdict(list)
    for one in wakes:
        if one.span:
            places[one.span.name].append((one.utc_s - one.span.begin_s, one))
    for name, found in sorted(places.items()):
        if plays[name] * devices < 2:  # noqa: PLR2004 - played once, nothing repeats
            continue
        found.sort(key=lambda pair: pair[0])
        begin = 0
        for index in range(1, len(found) + 1):
            if index < len(found) and found[index][0] - found[index - 1][0] <= _SAME_S:
                continue
            same = found[begin:index]
            begin = index
            yield Repeatability(
                kind=EventKind.FALSE_WAKE,
                item=name,
                at_s=round(same[0][0], 3),
                fired=len({(one.device, one.span) for _, one in same}),
                plays=plays[name] * devices,
            )


def _histogram(chains: Sequence[Chain]) -> Histogram:
    """Count the steps at or above the floor; those below it were not kept."""
    kept = [chain.scores[chain.scores > 0] for chain in chains] or [np.zeros(0, np.float32)]
    bins = np.histogram(np.concatenate(kept), bins=50, range=(0, 1))[0]
    return Histogram(said=(0,) * len(bins), unsaid=tuple(bins.tolist()))


def _quantiles(seconds: Sequence[float]) -> tuple[float, ...]:
    if not seconds:
        return ()
    return tuple(float(np.quantile(seconds, part)) for part in (0.5, 0.9, 1.0))
