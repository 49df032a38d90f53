import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear.takes.take_reply import (
    LONGEST_REPLY_BYTES,
    TakeReply,
    encode_take_reply,
    make_take_reply,
    parse_take_reply,
)
from listener.voiceprint.enrolment import RecordingLevels, RecordingProblem

LEVELS = RecordingLevels(-25.5, -60.25, 0.75, None)


def test_longest_take_passes_the_pipe_unchanged() -> None:
    sound = np.random.default_rng(1).integers(-32_768, 32_768, 160_000).astype(np.int16)

    line = encode_take_reply(make_take_reply(LEVELS, sound))
    reply = parse_take_reply(line)

    assert reply.levels == LEVELS
    assert np.array_equal(reply.sound, sound)
    assert line.count(b"\n") == 1
    assert len(line) < LONGEST_REPLY_BYTES


def test_take_with_a_problem_has_no_samples() -> None:
    levels = RecordingLevels(-70.0, -71.0, 0.1, RecordingProblem.SHORT)

    reply = parse_take_reply(encode_take_reply(make_take_reply(levels, np.ones(9, np.int16))))

    assert (reply.levels, len(reply.sound)) == (levels, 0)


def test_error_passes_the_pipe() -> None:
    made = TakeReply(error="the microphone is muted", hint="run earmark mute off")

    assert parse_take_reply(encode_take_reply(made)) == made


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every reason is one kind of error here
        parse_take_reply(b"x" + line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"samples":"AAA="}\n'[:-1] + b" " * LONGEST_REPLY_BYTES,
        b'{"samples":"AAAA"}',
        b'{"speech_s":1e9}',
        b'{"level_dbfs":-20,"level_dbfs":-21}',
    ],
)
def test_line_out_of_its_form_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every reason is one kind of error here
        parse_take_reply(line)
