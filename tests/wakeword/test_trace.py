import types
import typing
from dataclasses import replace
from datetime import timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from listener.audio.pcm import FRAME_SAMPLES, GapReason
from listener.wakeword import trace
from listener.wakeword.detector import NearMiss, Step, Wake
from listener.wakeword.trace import TraceBuilder
from tests.wakeword.traces import NOW, frames, step, traced

OPENED = trace.OpenedLine(
    device="hall",
    run="00112233445566aa",
    earmark="0.2.0",
    utc="2026-03-04T05:06:07.089Z",
    monotonic_s=1.5,
    step_samples=1280,
    floor=0.02,
    lazy=True,
    words={
        "alexa": trace.TraceWord(
            sha256="ab" * 32,
            threshold=0.5,
            patience_steps=1,
            refractory_samples=32_000,
            near_miss_threshold=0.2,
        )
    },
)


@given(st.floats(0, 1, width=32).filter(lambda score: score >= np.float32(0.021)))
def test_score_round_trip_keeps_the_float32(score: float) -> None:
    heard = traced(np.zeros(FRAME_SAMPLES, np.int16), score)

    line = trace.decode(trace.encode(heard).rstrip())

    assert isinstance(line, trace.HeardLine)
    assert np.float32(line.scores["alexa"].scores[0]) == np.float32(score)


def test_trace_schema_has_no_field_for_audio() -> None:  # noqa: C901 - a case for each kind of type
    leaves: list[inspect.Type] = []

    def walk(found: inspect.Type) -> None:
        match found:
            case inspect.StructType():
                for field in found.fields:
                    walk(field.type)
            case inspect.DictType():
                walk(found.key_type)
                walk(found.value_type)
            case inspect.VarTupleType():
                walk(found.item_type)
            case inspect.TupleType():
                for item in found.item_types:
                    walk(item)
            case inspect.UnionType():
                for option in found.types:
                    walk(option)
            case _:
                leaves.append(found)

    for line in typing.get_args(trace.Line):
        assert isinstance(line, type)
        walk(inspect.type_info(line))

    # Numbers between bounds, names and times of a pattern: nothing free.
    for leaf in leaves:
        match leaf:
            case inspect.IntType() | inspect.FloatType():
                bounds = (leaf.ge, leaf.gt, leaf.le, leaf.lt)
                assert sum(bound is not None for bound in bounds) == 2
            case inspect.StrType():
                assert leaf.pattern is not None
            case _:
                assert isinstance(leaf, inspect.BoolType | inspect.LiteralType | inspect.EnumType)


def test_trace_lines_round_trip() -> None:
    missing = trace.GapLine(
        reason=GapReason.MUTED,
        first_sample=0,
        length_samples=16_000,
        utc=trace.format_time(NOW),
        monotonic_s=3.25,
    )
    for line in (OPENED, missing, traced(np.ones(FRAME_SAMPLES, np.int16), 0.5)):
        data = trace.encode(line)

        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        assert trace.decode(data[:-1]) == line


def test_line_start_is_its_end_minus_its_length() -> None:
    heard = traced(np.zeros(25 * FRAME_SAMPLES, np.int16))

    assert trace.line_start(heard) == NOW - timedelta(seconds=2)


def test_times_are_written_in_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))

    assert trace.format_time(there) == "2026-03-04T05:06:07.089Z"
    assert trace.parse_time(trace.format_time(there)) == NOW


def change(line: trace.Line, **fields: object) -> bytes:
    made: dict[str, object] = msgspec.to_builtins(line)
    return msgspec.json.encode(made | fields)


HEARD = traced(np.ones(FRAME_SAMPLES, np.int16), 0.5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[" * 5000,
        b" " * (trace.LONGEST_LINE_BYTES + 1),
        change(OPENED, sound="UklGRg=="),
        change(OPENED, v=2),
        change(OPENED, words={}),
        change(OPENED, floor=0),
        change(OPENED, utc="2026-13-04T05:06:07.089Z"),
        change(OPENED, device="Ada's kitchen"),
        change(HEARD, end_sample=0),
        change(HEARD, end_sample=1281),
        change(HEARD, levels_db=[]),
        change(HEARD, levels_db=[1]),
        change(HEARD, utc="yesterday"),
        change(HEARD, scores={"alexa": {"steps": [1], "scores": []}}),
        change(HEARD, scores={"alexa": {"steps": [1, 1], "scores": [0.5, 0.5]}}),
        change(HEARD, scores={"alexa": {"steps": [1], "scores": [1.5]}}),
    ],
)
def test_invalid_line_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        trace.decode(data)


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_decode_or_raise_value_error(data: bytes) -> None:
    try:
        line = trace.decode(data)
    except ValueError:
        return
    assert isinstance(line, types.NoneType | trace.Line)


def test_scores_from_the_floor_up_are_kept_with_their_step() -> None:
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


def test_stretches_of_own_sound_are_kept() -> None:
    tracer = TraceBuilder(("alexa",), 0.1, FRAME_SAMPLES)
    sounding = [False, True, True, False, True]
    for frame, sounds in zip(
        frames(np.zeros(5 * FRAME_SAMPLES, np.int16), 12_800), sounding, strict=True
    ):
        tracer.frame(replace(frame, has_own_sound=sounds), [], [])

    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.own_sound == ((14_080, 16_640), (17_920, 19_200))
    assert trace.decode(trace.encode(heard)) == heard
    tracer.frame(next(iter(frames(np.zeros(FRAME_SAMPLES, np.int16), 19_200))), [], [])
    silent = tracer.take(NOW, 2.0)
    assert silent is not None
    assert b"own_sound" not in trace.encode(silent)


@pytest.mark.parametrize(
    "stretches", [[], [[0, 640], [600, 1280]], [[640, 640]], [[0, 2560]], [[1280, 640]]]
)
def test_stretches_of_own_sound_outside_the_line_are_refused(stretches: list[list[int]]) -> None:
    line = traced(np.ones(FRAME_SAMPLES, np.int16))

    with pytest.raises(ValueError, match=r"contradict|not a line"):
        trace.decode(change(line, own_sound=stretches))


def test_steps_at_a_40_ms_hop_have_separate_indices() -> None:
    tracer = TraceBuilder(("alexa",), 0.1, 640)
    (frame,) = frames(np.zeros(FRAME_SAMPLES, np.int16), 6400)
    steps = [Step(6400, 7040, {"alexa": 0.2}), Step(7040, 7680, {"alexa": 0.3})]

    tracer.frame(frame, steps, [])
    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.scores["alexa"].steps == (0, 1)


def test_deferred_step_has_no_score() -> None:
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES)
    (frame,) = frames(np.zeros(FRAME_SAMPLES, np.int16))

    tracer.frame(frame, [Step(0, FRAME_SAMPLES, {})], [])
    heard = tracer.take(NOW, 2.0)

    assert heard is not None
    assert heard.scores == {}


def test_wakes_and_near_misses_are_kept_unchanged() -> None:
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
def test_level_is_mean_power_in_whole_decibels(value: int, level_db: int) -> None:
    wave = np.tile(np.array([value, -value]).clip(-32_768, 32_767), 13 * FRAME_SAMPLES)

    heard = traced(wave.astype(np.int16))

    assert heard.levels_db == (level_db, level_db)


@pytest.mark.parametrize("offset", [-20_000, 0, 6_554])
def test_direct_offset_does_not_change_levels(offset: int) -> None:
    rng = np.random.default_rng(3)
    loud = rng.normal(0, 1_000, 25 * FRAME_SAMPLES)
    quiet = rng.normal(0, 30, 25 * FRAME_SAMPLES)

    heard = traced((np.concatenate([loud, quiet]) + offset).astype(np.int16))

    assert heard.levels_db == (-30, -61)


def test_full_part_is_followed_by_the_next_sample() -> None:
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
def test_trace_keeps_only_mean_power_over_2_s_of_audio(seed: int, count: int) -> None:
    # Samples in any other order are other sound: another word, a melody played backwards, noise.
    # The trace cannot tell them apart, so it cannot give back any of them.
    rng = np.random.default_rng(seed)
    sound = rng.integers(-(2**15), 2**15, count * FRAME_SAMPLES, dtype=np.int16)
    shuffled = sound.copy()
    level = trace.LEVEL_FRAMES * FRAME_SAMPLES
    for at in range(0, len(shuffled), level):
        rng.shuffle(shuffled[at : at + level])

    assert trace.encode(traced(sound, 0.5)) == trace.encode(traced(shuffled, 0.5))


def test_quiet_minute_takes_less_than_300_bytes() -> None:
    quiet = traced(np.full(trace.PART_FRAMES * FRAME_SAMPLES, 1000, np.int16))

    assert len(trace.encode(quiet)) < 300


def test_steps_that_were_not_computed_are_marked_by_word() -> None:
    tracer = TraceBuilder(("alexa", "timer"), 0.02, FRAME_SAMPLES)
    for number, frame in enumerate(frames(np.zeros(8 * FRAME_SAMPLES, np.int16))):
        scores = {"timer": 0.1} if number < 6 else {}
        if number in {2, 3, 5}:
            scores["alexa"] = 0.3
        tracer.frame(frame, [step(frame, **scores)], [])

    heard = tracer.take(NOW, 1.0)

    assert heard is not None
    assert heard.skipped == {"alexa": (0, 2, 4, 5, 6, 8), "timer": (6, 8)}
    assert heard.scores["alexa"].steps == (2, 3, 5)
    assert trace.decode(trace.encode(heard)) == heard


def test_line_whose_steps_were_all_computed_marks_none() -> None:
    assert b"skipped" not in trace.encode(traced(np.zeros(FRAME_SAMPLES, np.int16)))


def late(count: int, pending: range) -> TraceBuilder:
    """A tracer after so many frames; the scores of some came with the one after the last."""
    tracer = TraceBuilder(("alexa",), 0.02, FRAME_SAMPLES, late_frames=3)
    waiting = []
    for number, frame in enumerate(frames(np.zeros(count * FRAME_SAMPLES, np.int16))):
        waiting.append(step(frame, alexa=0.5))
        if number not in pending:
            tracer.frame(frame, waiting, [])
            waiting.clear()
        else:
            tracer.frame(frame, [], [])
    return tracer


def test_late_scores_keep_their_steps() -> None:
    heard = late(10, range(4, 6)).take(NOW, 1.0)

    assert heard is not None
    assert heard.scores["alexa"].steps == tuple(range(10))
    assert not heard.skipped


def test_scores_that_are_pending_at_a_gap_were_not_computed() -> None:
    heard = late(10, range(8, 10)).take(NOW, 1.0)

    assert heard is not None
    assert heard.scores["alexa"].steps == tuple(range(8))
    assert heard.skipped == {"alexa": (8, 10)}


def test_stretch_does_not_end_while_scores_are_pending() -> None:
    most = trace.PART_FRAMES

    assert late(most - 3, range(0)).is_full
    assert not late(most - 4, range(0)).is_full
    assert not late(most - 1, range(most - 3, most - 1)).is_full
    assert late(most, range(most - 2, most - 1)).is_full


@pytest.mark.parametrize("runs", [[1], [2, 2], [3, 1], [0, 2, 1, 4], [-1, 2]])
def test_runs_that_do_not_rise_are_refused(runs: list[int]) -> None:
    line = msgspec.json.decode(trace.encode(traced(np.zeros(5 * FRAME_SAMPLES, np.int16))))
    line["skipped"] = {"alexa": runs}

    with pytest.raises(ValueError, match=r"contradict|skipped"):
        trace.decode(msgspec.json.encode(line))
