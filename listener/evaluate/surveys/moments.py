"""The moments of a trace that count: wakes and near misses, with what is known of each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.rates import counting
from listener.evaluate.rates.events import DetectionEvent, EventKind
from listener.evaluate.rates.excerpts import AFTER_S, BEFORE_S
from listener.evaluate.rates.result import Excerpt
from listener.evaluate.surveys.spans import Span, Spans
from listener.evaluate.surveys.traces import Chain
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
