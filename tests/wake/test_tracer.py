from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.sound.pcm import FRAME_SAMPLES
from listener.wake import trace
from listener.wake.detector import Step
from listener.wake.tracer import TraceBuilder
from listener.wake.trigger import NearMiss, Wake
from tests.wake.traces import NOW, frames, step, traced


def test_scores_from_the_floor_on_are_kept_with_their_place() -> None:
    tracer = TraceBuilder(("alexa", "timer"), 0.1, FRAME_SAMPLES)
    scores = [0.0, 0.0999, 0.1, 0.9, 0.05]
    for frame, score in zip(
        frames(np.zeros(5 * FRAME_SAMPLES, np.int16), 12_800), scores, strict=True
    ):
        tracer.frame(frame, [step(frame, alexa=score, another=1.0)], [])

    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.scores == {"alexa": trace.WordScores(steps=(2, 3), scores=(0.1, 0.9))}
    assert (heard.first_sample, heard.end_sample) == (12_800, 12_800 + 5 * FRAME_SAMPLES)


def test_at_a_hop_of_40_ms_every_step_has_a_place_of_its_own() -> None:
    tracer = TraceBuilder(("alexa",), 0.1, 640)
    (frame,) = frames(np.zeros(FRAME_SAMPLES, np.int16), 6400)
    steps = [Step(6400, 7040, {"alexa": 0.2}), Step(7040, 7680, {"alexa": 0.3})]

    tracer.frame(frame, steps, [])
    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.scores["alexa"].steps == (0, 1)


def test_a_step_that_was_put_off_has_no_score() -> None:
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES)
    (frame,) = frames(np.zeros(FRAME_SAMPLES, np.int16))

    tracer.frame(frame, [Step(0, FRAME_SAMPLES, {})], [])
    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.scores == {}


def test_wakes_and_near_misses_are_kept_as_the_device_saw_them() -> None:
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES)
    (frame,) = frames(np.zeros(FRAME_SAMPLES, np.int16), 64_000)

    tracer.frame(frame, [], [NearMiss("alexa", 0.25, 60_160), Wake("alexa", 0.75, 65_280, 0.5)])
    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert [(f.kind, f.score, f.end_sample) for f in heard.found] == [
        ("near_miss", 0.25, 60_160),
        ("wake", 0.75, 65_280),
    ]


@pytest.mark.parametrize(
    ("value", "level_db"), [(0, -120), (1, -90), (-32_768, 0), (16_384, -6), (328, -40)]
)
def test_a_level_is_mean_power_in_whole_decibels(value: int, level_db: int) -> None:
    heard = traced(np.full(26 * FRAME_SAMPLES, value, np.int16))

    assert heard.levels_db == (level_db, level_db)


def test_a_minute_is_full_and_the_next_stretch_goes_on_where_it_ended() -> None:
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES)
    minute = frames(np.zeros(trace.PART_FRAMES * FRAME_SAMPLES, np.int16))
    for frame in minute:
        assert not tracer.is_full
        tracer.frame(frame, [], [])

    assert tracer.is_full
    first = tracer.take(NOW, 2.0)
    assert first is not None
    assert tracer.take(NOW, 2.0) is None
    tracer.frame(frames(np.zeros(FRAME_SAMPLES, np.int16), first.end_sample)[0], [], [])
    second = tracer.take(NOW + timedelta(seconds=1), 3.0)
    assert second is not None
    assert second.first_sample == first.end_sample


@given(st.integers(0, 2**32 - 1), st.integers(1, 130))
def test_of_the_sound_nothing_is_kept_but_its_power_over_2_s(seed: int, count: int) -> None:
    # Samples in any other order are other sound: another word, a melody played backwards, noise.
    # The trace cannot tell them apart, so it cannot give back any of them.
    rng = np.random.default_rng(seed)
    sound = rng.integers(-(2**15), 2**15, count * FRAME_SAMPLES, dtype=np.int16)
    shuffled = sound.copy()
    level = trace.LEVEL_FRAMES * FRAME_SAMPLES
    for at in range(0, len(shuffled), level):
        rng.shuffle(shuffled[at : at + level])

    assert trace.encode(traced(sound, 0.5)) == trace.encode(traced(shuffled, 0.5))


def test_a_minute_takes_no_more_than_its_scores() -> None:
    quiet = traced(np.full(trace.PART_FRAMES * FRAME_SAMPLES, 1000, np.int16))

    assert len(trace.encode(quiet)) < 300
