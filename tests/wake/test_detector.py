import numpy as np
import pytest

from listener.sound.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.wake.detector import Detector, NearMiss, Rule, Wake
from listener.wake.features import Floats

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


def test_each_word_wakes_by_its_own_score() -> None:
    detector = Detector(ScriptedModel([[0.75, 0.1, 0.9]], [[0.1, 0.625, 0.6]]), RULES)

    found = [detector.push(frame(index)) for index in range(2)]

    assert found == [
        (Wake("alexa", 0.75, 1280, 0.5),),
        (Wake("timer", 0.625, 2560, 0.5),),
    ]


def test_a_label_alone_wakes_nothing() -> None:
    detector = Detector(ScriptedModel([[0.0, 0.0, 1.0]]), RULES)

    assert detector.push(frame(0)) == ()


def test_two_words_may_wake_in_one_frame() -> None:
    detector = Detector(ScriptedModel([[0.75, 0.75, 0.0]]), RULES)

    assert [event.word for event in detector.push(frame(0))] == ["alexa", "timer"]


def test_scores_and_steps_are_those_of_the_newest_frame() -> None:
    model = ScriptedModel([[0.0, 0.25, 0.5], [0.125, 0.25, 0.5]], [[NAN] * 3, [0.5, 0.0, 0.0]])
    detector = Detector(model, RULES)

    detector.push(frame(0))
    detector.push(frame(1))

    assert dict(detector.scores) == {"alexa": 0.5, "timer": 0.0, "1_hour_timer": 0.0}
    first, second = detector.steps
    assert (first.first_sample, first.end_sample, first.scores) == (1280, 1920, {})
    assert (second.first_sample, second.end_sample) == (1920, 2560)


def test_a_wake_inside_a_frame_says_where_its_step_ends() -> None:
    detector = Detector(ScriptedModel([[0.75, 0.0, 0.0], [0.1, 0.0, 0.0]]), RULES)

    assert detector.push(frame(3)) == (Wake("alexa", 0.75, 3 * 1280 + 640, 0.5),)


def test_a_step_that_was_put_off_ends_a_run() -> None:
    detector = Detector(ScriptedModel([[0.375, 0.0, 0.0]], [[NAN] * 3]), RULES)

    detector.push(frame(0))

    assert detector.push(frame(1)) == (NearMiss("alexa", 0.375, 1280),)
    assert detector.scores == {}


def test_before_the_first_frame_there_is_no_score() -> None:
    detector = Detector(ScriptedModel([[0.0] * 3]), RULES)

    assert detector.scores == {}
    assert detector.steps == ()


@pytest.mark.parametrize("reason", list(GapReason))
def test_a_gap_restarts_model_and_triggers(reason: GapReason) -> None:
    model = ScriptedModel([[0.75, 0.3, 0.0]], [[0.75, 0.1, 0.0]])
    detector = Detector(model, RULES)
    detector.push(frame(0))

    nothing = detector.push(Gap(reason, 1280, 1280))

    assert nothing == ()
    assert detector.steps == ()
    assert model.restarts == 1
    # Neither the refractory nor the run of the near miss survived.
    assert detector.push(frame(2)) == (Wake("alexa", 0.75, 3840, 0.5),)
