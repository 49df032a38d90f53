"""Rates at any threshold from the traces of a survey. Pure.

A survey does not record whether the word was spoken: every wake outside the excluded spans counts
as false. Patience and refractory are applied to the device's own scores, so the rate at a threshold
is what the device would have had. There is no rate below the floor of the traces.
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
from listener.evaluate.report.text import CORPUS_NOTE
from listener.evaluate.survey.reader import Chain, MergedTraces, Span, Spans
from listener.wakeword.detector import Rule

ENGINE: Final = "survey"
CONDITION: Final = "as heard"
CLAIMS_PER_HOUR: Final = (1.0, 0.5, 0.1, 1 / 24)
DEFINITIONS: Final = {
    "false wake": "a wake outside the excluded spans; a survey does not record what was said",
    "hour": "an hour of one device's audio, without gaps and excluded spans",
    "day": "a day of one device, in UTC",
    "gap": "muted, lost or overrun audio; no event spans it, and it is not counted as time",
    "play": "one span of a stimulus at one device",
    "interval": "exact Poisson, and the bootstrap over days of devices",
    "threshold": "patience and refractory are those of the device; there are no rates below the"
    " floor of the traces",
}

_DAY_S: Final = 86_400
_HOUR_S: Final = 3_600
_SAME_S: Final = 1.5
"""Maximum distance of wakes at the same position of a stimulus: the clocks differ."""
_NO_WORDS: Final = intervals.wilson(0, 0)


@dataclass(frozen=True, slots=True)
class Moment:
    """A wake or a near miss with its device, time, stimulus and scores."""

    event: DetectionEvent
    device: str
    day: int
    """Days since 1970, in UTC."""
    utc_s: float
    """Seconds since 1970."""
    span: Span | None
    """Span of the stimulus, if one was played."""
    excerpt: Excerpt


def find_moments(chain: Chain, stimuli: Spans, threshold: float) -> Iterator[Moment]:
    """Yield the wakes and near misses of a chain.

    Args:
        chain: scores over audio without a gap.
        stimuli: spans of the stimuli.
        threshold: threshold to apply, 0 to 1; patience and refractory are the device's.
    """
    rule = build_chain_rule(chain, threshold)
    woken = counting.find_wakes(chain.ends, chain.scores, rule)
    near = counting.find_near_misses(chain.ends, chain.scores, rule, woken)
    runs = counting.find_runs(chain.scores, threshold)
    for step in woken.tolist():
        first, end = next(run for run in reversed(runs) if run[0] <= step)
        peak = float(chain.scores[first:end].max())
        activation_s = (end - first) * chain.step_samples / SAMPLE_RATE_HZ
        yield _moment(
            chain, stimuli, EventKind.FALSE_WAKE, step, peak=peak, activation_s=activation_s
        )
    for step in near.tolist():
        peak = float(chain.scores[step])
        yield _moment(chain, stimuli, EventKind.NEAR_MISS, step, peak=peak, activation_s=0.0)


def build_chain_rule(chain: Chain, threshold: float) -> Rule:
    """Return the trigger rule of the device with another threshold."""
    listening = chain.listening
    return Rule(
        threshold=threshold,
        patience_steps=listening.patience_steps,
        refractory_samples=listening.refractory_samples,
        near_miss_threshold=listening.near_miss_threshold,
    )


def _moment(  # noqa: PLR0913 - a position in a trace, and the event's own fields
    chain: Chain, stimuli: Spans, kind: EventKind, step: int, *, peak: float, activation_s: float
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
        activation_s=activation_s,
        clip=f"{span.name} +{timedelta(seconds=round(utc_s - span.begin_s))}" if span else None,
    )
    return Moment(event, chain.device, day, utc_s, span, _excerpt(chain, step, item, at_s))


def _excerpt(chain: Chain, step: int, item: str, at_s: float) -> Excerpt:
    """Return the scores around a step; scores below the floor are 0."""
    size = chain.step_samples
    before = round(BEFORE_S * SAMPLE_RATE_HZ / size)
    after = round(AFTER_S * SAMPLE_RATE_HZ / size)
    scores = np.zeros(before + after + 1)
    indices = (chain.ends - chain.ends[step]) // size + before
    inside = (indices >= 0) & (indices < len(scores))
    scores[indices[inside]] = chain.scores[inside]
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


def compute_rates(
    merged: MergedTraces, stimuli: Spans, thresholds: Mapping[str, float]
) -> tuple[WordResult, ...]:
    """Return the rates of each word of merged traces.

    Args:
        merged: traces of all devices.
        stimuli: spans of the stimuli.
        thresholds: threshold of each word; the device's own if missing.

    Raises:
        UsageError: a threshold is below the floor, or for a word that no trace has.
    """
    for word, threshold in thresholds.items():
        if word not in merged.words:
            raise UsageError(
                f"no trace has scores of {word}", f"choose one of {', '.join(merged.words)}"
            )
        if threshold < merged.floor:
            raise UsageError(
                f"the threshold {threshold} is below the floor {merged.floor} of the traces",
                "record with a lower floor: earmark survey --floor",
            )
    return tuple(
        _word(merged, stimuli, word, thresholds.get(word)) for word in sorted(merged.words)
    )


def list_warnings(merged: MergedTraces, words: Sequence[WordResult]) -> tuple[str, ...]:
    """Return the limits that a reader must know before quoting a rate."""
    warnings = []
    if not merged.heard_s:
        warnings.append("the traces contain no audio, so there is no rate")
    if merged.excluded_s == 0 and any(word.events for word in words):
        warnings.append("no span was excluded, so intended wakes count as false wakes")
    warnings += [
        f"{missing_s / _HOUR_S:.3g} hours are missing ({reason}) and are not counted"
        for reason, missing_s in sorted(merged.missing_s.items())
        if missing_s >= 1
    ]
    if merged.repeated_s:
        warnings.append(
            f"{CORPUS_NOTE}{merged.repeated_s / _HOUR_S:.3g} hours occur in the traces more than"
            " once, counted once"
        )
    if merged.troubles:
        warnings.append("a part of the traces could not be read and is not counted")
    return tuple(warnings)


def _word(merged: MergedTraces, stimuli: Spans, word: str, threshold: float | None) -> WordResult:
    own = merged.words[word].threshold
    chains = [chain for chain in merged.chains if chain.word == word]
    used = own if threshold is None else threshold
    moments = [moment for chain in chains for moment in find_moments(chain, stimuli, used)]
    moments.sort(key=lambda moment: (moment.event.item, moment.event.at_s))
    wakes = [moment for moment in moments if moment.event.kind is EventKind.FALSE_WAKE]
    hours = sum(merged.heard_s.values()) / _HOUR_S
    days = sorted(merged.heard_s)
    by_day = Counter((wake.device, wake.day) for wake in wakes)
    false_wakes = intervals.poisson(len(wakes), hours)
    activations = [wake.event.activation_s for wake in wakes]
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
        near_misses=sum(moment.event.kind is EventKind.NEAR_MISS for moment in moments),
        latency_s=(),
        activation_s=_quantiles(activations),
        curve=_curve(chains, hours, merged.floor),
        speakers=(),
        groups=_groups(merged, wakes),
        events=tuple(moment.event for moment in moments),
        repeatability=tuple(_repeats(merged, stimuli, wakes)),
        histogram=_histogram(chains),
        excerpts=tuple(wake.excerpt for wake in wakes),
    )


def _curve(chains: Sequence[Chain], hours: float, floor: float) -> tuple[Point, ...]:
    counts = counting.zero_counts()
    for chain in chains:
        counts += counting.count_curve(chain.ends, chain.scores, build_chain_rule(chain, 0.5), ())
    points = statistics.curve_points(counts, plays=1, spoken=0, hours=hours)
    return tuple(point for point in points if point.threshold >= floor)


def _groups(merged: MergedTraces, wakes: Sequence[Moment]) -> tuple[Breakdown, ...]:
    """Return the rates of each device and of each stimulus."""
    device_s: dict[str, float] = defaultdict(float)
    for (device, _), heard_s in merged.heard_s.items():
        device_s[device] += heard_s
    by_device = Counter(wake.device for wake in wakes)
    rows = [_row(f"device {name}", by_device.get(name, 0), device_s[name]) for name in device_s]
    if merged.stimulus_s.keys() - {""}:
        by_name = Counter(wake.span.name if wake.span else "" for wake in wakes)
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
    """Yield each position of a stimulus that woke a device, with the number of plays that did."""
    devices = len({device for device, _ in merged.heard_s})
    plays = Counter(span.name for span in stimuli)
    positions: dict[str, list[tuple[float, Moment]]] = defaultdict(list)
    for wake in wakes:
        if wake.span:
            positions[wake.span.name].append((wake.utc_s - wake.span.begin_s, wake))
    for name, group in sorted(positions.items()):
        if plays[name] * devices < 2:  # noqa: PLR2004 - a single play cannot be repeated
            continue
        group.sort(key=lambda pair: pair[0])
        begin = 0
        for index in range(1, len(group) + 1):
            if index < len(group) and group[index][0] - group[index - 1][0] <= _SAME_S:
                continue
            same = group[begin:index]
            begin = index
            yield Repeatability(
                kind=EventKind.FALSE_WAKE,
                item=name,
                at_s=round(same[0][0], 3),
                fired=len({(wake.device, wake.span) for _, wake in same}),
                plays=plays[name] * devices,
            )


def _histogram(chains: Sequence[Chain]) -> Histogram:
    """Return the histogram of the scores at or above the floor; traces omit the others."""
    recorded = [chain.scores[chain.scores > 0] for chain in chains] or [np.zeros(0, np.float32)]
    bins = np.histogram(np.concatenate(recorded), bins=50, range=(0, 1))[0]
    return Histogram(said=(0,) * len(bins), unsaid=tuple(bins.tolist()))


def _quantiles(seconds: Sequence[float]) -> tuple[float, ...]:
    if not seconds:
        return ()
    return tuple(float(np.quantile(seconds, part)) for part in (0.5, 0.9, 1.0))
