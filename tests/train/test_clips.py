import threading
import time

import numpy as np
import pytest
from numpy.random import Generator

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.train.acoustics import Surroundings
from listener.train.clips import ClipKind, LabelledStretch, place_clips, plan_clips, speak_clips
from tests.train.fake_voices import ToneEngine


def test_engines_take_turns_and_each_speaks_every_text() -> None:
    plan = plan_clips("near", ["a", "b", "c"], ["x", "y"], 12)

    assert [request.engine for request in plan] == ["x", "y"] * 6
    assert {(request.text, request.engine) for request in plan} == {
        (text, engine) for text in "abc" for engine in "xy"
    }
    assert [request.number for request in plan] == list(range(12))


@pytest.mark.parametrize("workers", [1, 3])
def test_clips_come_in_order_and_do_not_depend_on_workers(workers: int) -> None:
    engines = [ToneEngine("x"), ToneEngine("y")]
    plan = plan_clips("word", ["a"], ["x", "y"], 20)

    clips = list(speak_clips(plan, engines, 5, workers))
    alone = list(speak_clips(plan[7:9], engines, 5, 1))

    assert [clip.request.number for clip in clips] == list(range(20))
    assert [clip.speech.samples.tobytes() for clip in clips[7:9]] == [
        clip.speech.samples.tobytes() for clip in alone
    ]
    assert len({clip.speech.samples.tobytes() for clip in clips}) == 20


@pytest.mark.parametrize(("kind", "length_s", "count"), [("word", 3, 0), ("sentence", 3, 4)])
def test_word_that_is_spoken_too_slowly_is_left_out(
    kind: ClipKind, length_s: float, count: int
) -> None:
    engine = ToneEngine("slow", length_s)

    clips = list(speak_clips(plan_clips(kind, ["a"], ["slow"], 4), [engine], 1))

    assert len(clips) == count


def test_failure_of_an_engine_is_raised() -> None:
    class Broken(ToneEngine):
        def speak(self, text: str, voice: str, random: Generator) -> Samples:
            raise Unavailable("tone failed")

    with pytest.raises(Unavailable, match="tone failed"):
        list(speak_clips(plan_clips("word", ["a"], ["tone"], 4), [Broken()], 1))


def test_caller_that_stops_does_not_wait_for_the_whole_plan() -> None:
    class Slow(ToneEngine):
        def speak(self, text: str, voice: str, random: Generator) -> Samples:
            with lock:
                return super().speak(text, voice, random)

    lock = threading.Lock()
    engine = Slow()
    clips = speak_clips(plan_clips("word", ["a"], ["tone"], 1000), [engine], 1, 2)
    next(clips)
    clips.close()  # type: ignore[attr-defined] # it is a generator
    time.sleep(0)

    assert len(engine.texts) <= 3 * 9


def stretches(seed: int, kind: ClipKind = "word") -> list[LabelledStretch]:
    engine = ToneEngine()
    clips = speak_clips(plan_clips(kind, ["a"], ["tone"], 5), [engine], 1)
    talk = tuple(
        clip.speech.samples
        for clip in speak_clips(plan_clips("sentence", ["b"], ["tone"], 3), [engine], 2)
    )
    return list(place_clips(clips, Surroundings(talk), seed, copies=4))


def test_stretches_are_reproducible_and_differ() -> None:
    first, second, other = stretches(1), stretches(1), stretches(2)

    assert [s.samples.tobytes() for s in first] == [s.samples.tobytes() for s in second]
    assert len({s.samples.tobytes() for s in [*first, *other]}) == 40


def test_word_ends_before_the_end_of_its_stretch() -> None:
    for stretch in stretches(3):
        assert stretch.word_end is not None
        assert 16_000 * 0.5 < stretch.word_end < len(stretch.samples) - 16_000 * 0.4
        assert stretch.samples.dtype == np.int16
        assert 32_767 * 10 ** (-29 / 20) < np.abs(stretch.samples.astype(int)).max() <= 32_767


def test_other_speech_has_no_word_end() -> None:
    assert all(stretch.word_end is None for stretch in stretches(3, "near"))
