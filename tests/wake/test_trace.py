import types
import typing
from datetime import timedelta, timezone

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from listener.sound.pcm import FRAME_SAMPLES, GapReason
from listener.wake import trace
from tests.wake.traces import NOW, traced

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
def test_a_score_reads_back_as_the_same_float32(score: float) -> None:
    heard = traced(np.zeros(FRAME_SAMPLES, np.int16), score)

    line = trace.decode(trace.encode(heard).rstrip())

    assert isinstance(line, trace.HeardLine)
    assert np.float32(line.scores["alexa"].scores[0]) == np.float32(score)


def test_the_schema_has_no_field_that_could_hold_sound() -> None:
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


def test_lines_read_back_equal() -> None:
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


def test_when_a_line_began_follows_from_its_end_and_its_length() -> None:
    heard = traced(np.zeros(25 * FRAME_SAMPLES, np.int16))

    assert trace.line_start(heard) == NOW - timedelta(seconds=2)


def test_times_are_utc_whatever_the_clock_says() -> None:
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
def test_what_is_no_line_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        trace.decode(data)


@given(st.binary() | st.text().map(str.encode))
def test_bytes_of_any_origin_are_lines_or_refused(data: bytes) -> None:
    try:
        line = trace.decode(data)
    except ValueError:
        return
    assert isinstance(line, types.NoneType | trace.Line)
