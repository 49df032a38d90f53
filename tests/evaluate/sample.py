"""A result as an evaluation of two engines might give it, made up but of one piece."""

from dataclasses import replace

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.engines.interface import ScoreTrack
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.metrics.results import (
    Breakdown,
    Comparison,
    DetectionEvent,
    EventKind,
    Hours,
    Point,
    Repeatability,
    Result,
    SkippedItem,
    WordResult,
)
from listener.evaluate.metrics.scores import ScoreHistogram, cut_excerpt

HOSTILE = "</title><script>alert(1)</script>\"'=cmd|' /C calc'!A0 \u202e\x07 ünïcödé"
LENGTH_S = 480.0
COMPARISON = Comparison(
    word="alexa",
    condition="clean",
    first="a",
    second="b",
    words_said=100,
    both_missed=1,
    only_first_missed=2,
    only_second_missed=9,
    misses_p=0.0654,
    both_false=3,
    only_first_false=0,
    only_second_false=6,
    false_wakes_p=0.03125,
    ratio_low=0.0,
    ratio_high=0.85,
)


def misses(count: float, words: float) -> Rate:
    """A rate of misses; its bounds are only plausible."""
    value = count / words if words else None
    if value is None:
        return Rate(0, 0, None, None, None, 0.95, "wilson", "per word")
    spread = 1.96 * ((value + 0.02) / max(words, 1)) ** 0.5
    low, high = max(0.0, value - spread), min(1.0, value + spread)
    return Rate(count, words, value, low, high, 0.95, "wilson", "per word")


def false_wakes(count: float, hours: float) -> Rate:
    """A rate of false wakes; its bounds are only plausible."""
    low = max(0.0, count - 2 * count**0.5) / hours
    high = (count + 2 * count**0.5 + 3) / hours
    return Rate(count, hours, count / hours, low, high, 0.95, "poisson", "per hour")


def track(seed: int, rises_at_s: tuple[float, ...]) -> ScoreTrack:
    """Faint scores with a rise at each place."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.3, 12, int(LENGTH_S / 0.08)).astype(np.float32)
    for at_s in rises_at_s:
        middle = int(at_s / 0.08)
        scores[middle - 4 : middle + 5] = np.array(
            [0.1, 0.3, 0.55, 0.8, 0.93, 0.9, 0.6, 0.3, 0.1], np.float32
        )
    return ScoreTrack(("alexa",), scores[:, None], 1280, 1280, int(LENGTH_S * SAMPLE_RATE_HZ))


def word_result(engine: str, factor: float, names: tuple[str, ...]) -> WordResult:
    """One word's, with an event or two in each named item."""
    events: list[DetectionEvent] = []
    excerpts = []
    heights = ScoreHistogram()
    for index, name in enumerate(names):
        places = (40.0 + 61 * index % 400, 30.0 + 17 * index % 400)
        played = track(index, places)
        heights.add(np.array([0.9, 0.99, 0.7, 0.2], np.float32), played.of("alexa"))
        for at_s in places:
            event = DetectionEvent(
                kind=EventKind.FALSE_WAKE,
                word="alexa",
                item=name,
                condition="clean",
                play=0,
                at_s=at_s,
                score=0.8,
                peak=0.93,
                activation_s=0.4,
                speaker="1737",
                transcript="it was an election that nobody had expected",
            )
            events.append(event)
            excerpts.append(cut_excerpt(played, event))
    missed = replace(events[0], kind=EventKind.MISS, peak=0.31, score=0.31, activation_s=0)
    count = len(events)
    hours = 1.94
    curve = tuple(
        Point(
            threshold=threshold,
            misses=misses(round(100 * min(1, factor * (0.02 + threshold**6))), 100),
            false_wakes=false_wakes(round(count * factor * 4 * (1 - threshold) ** 2), hours),
        )
        for threshold in (step / 50 for step in range(1, 50))
    )
    return WordResult(
        engine=engine,
        word="alexa",
        condition="clean",
        threshold=0.5,
        threshold_from="manifest",
        items=124,
        plays=8,
        hours=hours,
        words_said=100,
        misses=misses(3 * factor, 100),
        misses_by_speaker=misses(3 * factor, 100),
        false_wakes=false_wakes(count, hours),
        false_wakes_by_recording=false_wakes(count, hours),
        false_wakes_per_10000_words=Rate(3, 19000, 1.6, 0.3, 4.6, 0.95, "poisson", "per 10000"),
        claims=(
            Hours(claim_per_hour=10, carried=True, still_needed_h=0),
            Hours(claim_per_hour=0.5, carried=False, still_needed_h=13.2),
            Hours(claim_per_hour=0.1, carried=False, still_needed_h=None),
        ),
        near_misses=14,
        latency_s=(0.12, 0.24, 0.31),
        activation_s=(0.24, 0.48, 0.8),
        curve=curve,
        speakers=tuple(
            Breakdown(
                name=f"speaker {index}", misses=misses(index % 3, 9), false_wakes=false_wakes(1, 1)
            )
            for index in range(9)
        ),
        groups=(Breakdown(name="near", misses=misses(1, 50), false_wakes=false_wakes(2, 1)),),
        events=(missed, *events),
        repeatability=(
            Repeatability(
                kind=EventKind.FALSE_WAKE, item=names[0], at_s=events[0].at_s, fired=3, plays=8
            ),
        ),
        histogram=heights.histogram(),
        excerpts=tuple(excerpts),
    )


def result(*names: str) -> Result:
    """Two engines on items of these names."""
    return Result(
        plan={"seed": 778, "conditions": [{"name": "clean"}]},
        hashes={"alexa": "ab" * 32, "corpus": "cd" * 32, "code": "ef" * 32},
        versions={"earmark": "0.2.0", "onnxruntime": "1.31.1"},
        definitions={"hit": "a wake from the start of the word to 0.5 s after its end"},
        warnings=("1.94 hours without a false wake would prove only fewer than 1.54 per hour",),
        missing=(SkippedItem(item=names[0], why="it is damaged"),),
        words=(word_result("earmark", 1.0, names), word_result("openwakeword", 2.0, names)),
    )
