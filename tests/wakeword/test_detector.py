import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.wakeword.detector import NearMiss, Rule, StreamDetector, Trigger, Wake
from listener.wakeword.features import Floats

NAN = float("nan")
RULES = {"alexa": Rule(0.5, 1, 16_000, 0.2), "timer": Rule(0.5, 1, 16_000, 0.2)}


class ScriptedModel:
    """Gives the scores it was told to, frame by frame."""

    words = ("alexa", "timer")
    columns = ("alexa", "timer", "1_hour_timer")

    def __init__(self, *frames: list[list[float]]) -> None:
        self.frames = list(frames)
        self.steps_per_frame = len(frames[0])
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1

    def push(self, samples: Samples) -> Floats:
        assert samples.shape == (FRAME_SAMPLES,)
        return np.array(self.frames.pop(0), np.float32)


def frame(index: int) -> Frame:
    return Frame(np.zeros(FRAME_SAMPLES, np.int16), index * FRAME_SAMPLES)


def test_each_word_wakes_on_its_own_score() -> None:
    detector = StreamDetector(ScriptedModel([[0.75, 0.1, 0.9]], [[0.1, 0.625, 0.6]]), RULES)

    found = [detector.push(frame(index)) for index in range(2)]

    assert found == [
        (Wake("alexa", 0.75, 1280, 0.5),),
        (Wake("timer", 0.625, 2560, 0.5),),
    ]


def test_detections_state_whether_the_device_itself_sounded() -> None:
    scores = [
        [[0.75, 0.1, 0.0]],
        [[0.1, 0.3125, 0.0]],
        *[[[0.1, 0.1, 0.0]]] * 24,
        [[0.875, 0.1, 0.0]],
    ]
    detector = StreamDetector(ScriptedModel(*scores), RULES)
    sounding = [replace(frame(0), has_own_sound=True)]

    found = [
        (event, detector.has_own_sound)
        for sound in (*sounding, *map(frame, range(1, 27)))
        for event in detector.push(sound)
    ]

    assert found == [
        (Wake("alexa", 0.75, 1280, 0.5, has_own_sound=True), True),
        (NearMiss("timer", 0.3125, 2560, has_own_sound=True), True),
        (Wake("alexa", 0.875, 27 * 1280, 0.5), False),
    ]


def test_own_sound_before_a_gap_is_forgotten() -> None:
    detector = StreamDetector(ScriptedModel([[0.1, 0.1, 0.0]], [[0.75, 0.1, 0.0]]), RULES)
    detector.push(replace(frame(0), has_own_sound=True))
    assert detector.has_own_sound

    detector.push(Gap(GapReason.LOST, FRAME_SAMPLES))

    assert not detector.has_own_sound
    assert detector.push(frame(1)) == (Wake("alexa", 0.75, 2560, 0.5),)


def test_label_without_the_word_does_not_wake() -> None:
    detector = StreamDetector(ScriptedModel([[0.0, 0.0, 1.0]]), RULES)

    assert detector.push(frame(0)) == ()


def test_two_words_can_wake_in_one_frame() -> None:
    detector = StreamDetector(ScriptedModel([[0.75, 0.75, 0.0]]), RULES)

    assert [event.word for event in detector.push(frame(0))] == ["alexa", "timer"]


def test_scores_and_steps_belong_to_the_newest_frame() -> None:
    model = ScriptedModel([[0.0, 0.25, 0.5], [0.125, 0.25, 0.5]], [[NAN] * 3, [0.5, 0.0, 0.0]])
    detector = StreamDetector(model, RULES)

    detector.push(frame(0))
    detector.push(frame(1))

    assert dict(detector.scores) == {"alexa": 0.5, "timer": 0.0, "1_hour_timer": 0.0}
    first, second = detector.steps
    assert (first.first_sample, first.end_sample, first.scores) == (1280, 1920, {})
    assert (second.first_sample, second.end_sample) == (1920, 2560)


def test_wake_within_a_frame_has_the_end_of_its_step() -> None:
    detector = StreamDetector(ScriptedModel([[0.75, 0.0, 0.0], [0.1, 0.0, 0.0]]), RULES)

    assert detector.push(frame(3)) == (Wake("alexa", 0.75, 3 * 1280 + 640, 0.5),)


def test_deferred_step_ends_a_run() -> None:
    detector = StreamDetector(ScriptedModel([[0.375, 0.0, 0.0]], [[NAN] * 3]), RULES)

    detector.push(frame(0))

    assert detector.push(frame(1)) == (NearMiss("alexa", 0.375, 1280),)
    assert detector.scores == {}


def test_detector_has_no_score_before_the_first_frame() -> None:
    detector = StreamDetector(ScriptedModel([[0.0] * 3]), RULES)

    assert detector.scores == {}
    assert detector.steps == ()


@pytest.mark.parametrize("reason", list(GapReason))
def test_gap_resets_model_and_triggers(reason: GapReason) -> None:
    model = ScriptedModel([[0.75, 0.3, 0.0]], [[0.75, 0.1, 0.0]])
    detector = StreamDetector(model, RULES)
    detector.push(frame(0))

    nothing = detector.push(Gap(reason, 1280, 1280))

    assert nothing == ()
    assert detector.steps == ()
    assert model.restarts == 1
    # Neither the refractory nor the run of the near miss survived.
    assert detector.push(frame(2)) == (Wake("alexa", 0.75, 3840, 0.5),)


SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9, 1.0]), max_size=120)


def judged(rule: Rule, scores: list[float]) -> list[Wake | NearMiss]:
    trigger = Trigger("alexa", rule)
    events = [trigger.push(score, 1280 * step) for step, score in enumerate(scores, 1)]
    return [event for event in events if event is not None]


def wakes(rule: Rule, scores: list[float]) -> list[Wake]:
    return [event for event in judged(rule, scores) if isinstance(event, Wake)]


def test_first_score_at_the_threshold_wakes() -> None:
    rule = Rule(0.5, refractory_samples=32_000)

    assert judged(rule, [0.1, 0.5, 0.9, 0.1]) == [Wake("alexa", 0.5, 2560, 0.5)]


def test_refractory_period_suppresses_wakes_until_its_end() -> None:
    rule = Rule(0.5, refractory_samples=3 * 1280)

    assert [wake.end_sample // 1280 for wake in wakes(rule, [0.9] * 8)] == [1, 4, 7]


def test_patience_requires_consecutive_steps() -> None:
    rule = Rule(0.5, patience_steps=3)

    assert wakes(rule, [0.9, 0.9, 0.1, 0.9, 0.9]) == []
    assert [wake.end_sample // 1280 for wake in wakes(rule, [0.1, 0.9, 0.6, 0.8])] == [4]


def test_score_below_the_threshold_resets_patience() -> None:
    rule = Rule(0.5, patience_steps=2, near_miss_threshold=0.2)

    assert wakes(rule, [0.9, 0.3, 0.9, 0.1]) == []


def test_run_without_a_wake_is_a_near_miss_at_its_end() -> None:
    rule = Rule(0.5, near_miss_threshold=0.2)
    trigger = Trigger("alexa", rule)

    during = [trigger.push(score, 1280 * step) for step, score in enumerate([0.3, 0.4, 0.2], 1)]

    assert during == [None, None, None]
    assert trigger.push(0.1, 5120) == NearMiss("alexa", 0.4, 2560)


def test_run_with_a_wake_is_not_a_near_miss() -> None:
    rule = Rule(0.5, near_miss_threshold=0.2)

    assert judged(rule, [0.3, 0.6, 0.3, 0.0]) == [Wake("alexa", 0.6, 2560, 0.5)]


def test_run_within_the_refractory_period_is_not_a_near_miss() -> None:
    rule = Rule(0.5, refractory_samples=10 * 1280, near_miss_threshold=0.2)

    assert len(judged(rule, [0.6, 0.0, 0.4, 0.0])) == 1


def test_run_shorter_than_patience_is_a_near_miss() -> None:
    rule = Rule(0.5, patience_steps=2, near_miss_threshold=0.2)

    assert judged(rule, [0.9, 0.0]) == [NearMiss("alexa", 0.9, 1280)]


def test_near_miss_threshold_above_threshold_keeps_wakes() -> None:
    rule = Rule(0.5, near_miss_threshold=0.9)

    assert judged(rule, [0.6, 0.0]) == [Wake("alexa", 0.6, 1280, 0.5)]


def test_reset_clears_refractory_period_and_run() -> None:
    trigger = Trigger("alexa", Rule(0.5, 1, 100_000, 0.2))
    trigger.push(0.9, 1280)

    trigger.restart()

    assert trigger.push(0.1, 2560) is None
    assert trigger.push(0.9, 3840) == Wake("alexa", 0.9, 3840, 0.5)


@given(
    scores=SCORES,
    thresholds=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)),
    patience=st.integers(1, 4),
    refractory=st.integers(0, 20),
)
def test_higher_threshold_never_gives_more_wakes(
    scores: list[float], thresholds: tuple[float, float], patience: int, refractory: int
) -> None:
    low, high = sorted(thresholds)

    few = wakes(Rule(high, patience, refractory * 1280), scores)
    many = wakes(Rule(low, patience, refractory * 1280), scores)

    assert len(few) <= len(many)


@given(scores=SCORES, patience=st.integers(1, 4), refractory=st.integers(0, 20))
def test_wakes_respect_refractory_period_and_threshold(
    scores: list[float], patience: int, refractory: int
) -> None:
    found = wakes(Rule(0.5, patience, refractory * 1280, 0.2), scores)

    for earlier, later in itertools.pairwise(found):
        assert later.end_sample - earlier.end_sample >= refractory * 1280
    for wake in found:
        step = wake.end_sample // 1280
        assert wake.score == scores[step - 1]
        assert all(score >= 0.5 for score in scores[step - patience : step])


@given(scores=SCORES)
def test_near_miss_threshold_never_changes_a_wake(scores: list[float]) -> None:
    plain = wakes(Rule(0.5, 2, 6400), scores)

    assert wakes(Rule(0.5, 2, 6400, 0.1), scores) == plain


@pytest.mark.parametrize("score", [0.49999, 0.0])
def test_score_below_the_threshold_never_wakes(score: float) -> None:
    assert judged(Rule(0.5), [score] * 50) == []


def test_raised_threshold_applies_from_the_next_frame_and_keeps_the_refractory_period() -> None:
    script = [[[0.6, 0.0, 0.0]]] * 2 + [[[0.9, 0.0, 0.0]]] * 20
    detector = StreamDetector(ScriptedModel(*script), RULES)

    found = [detector.push(frame(0))]
    detector.set_threshold("alexa", 0.8)
    found += [detector.push(frame(index)) for index in range(1, 22)]

    wakes = [one for detections in found for one in detections if isinstance(one, Wake)]
    assert [(wake.threshold, wake.end_sample) for wake in wakes] == [(0.5, 1280), (0.8, 17_920)]
    assert detector.thresholds["alexa"] == 0.8


def test_word_without_a_threshold_has_no_wakes_and_no_near_misses() -> None:
    high, low = [[0.9, 0.9, 0.0]], [[0.0, 0.0, 0.0]]
    detector = StreamDetector(ScriptedModel(high, low, high, low, low), RULES)

    detector.set_threshold("alexa", None)
    words = [one.word for index in range(2) for one in detector.push(frame(index))]
    detector.set_threshold("alexa", 0.5)
    words += [one.word for index in range(2, 5) for one in detector.push(frame(index))]

    assert words == ["timer", "alexa"]
