"""What the enrolment process writes: levels and embeddings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear.enrolment.sentence_reply import (
    LONGEST_REPLY_BYTES,
    SentenceReply,
    encode_reply,
    make_reply,
    parse_reply,
)
from listener.voiceprint.enrolment import EnrolmentSentence, RecordingLevels, RecordingProblem

LEVELS = RecordingLevels(-25.5, -60.25, 2.5, None)


def test_sentence_passes_the_pipe_unchanged() -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 192)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    line = encode_reply(make_reply(LEVELS, EnrolmentSentence(vectors, 2.25)))
    reply = parse_reply(line)

    assert reply.levels == LEVELS
    assert reply.sentence is not None
    assert reply.sentence.speech_s == 2.25
    np.testing.assert_allclose(reply.sentence.embeddings, vectors, atol=1e-7)
    assert len(line) < LONGEST_REPLY_BYTES / 8


def test_problem_has_no_sentence() -> None:
    levels = RecordingLevels(-70.0, -71.0, 0.5, RecordingProblem.SHORT)

    reply = parse_reply(encode_reply(make_reply(levels, None)))

    assert (reply.levels, reply.sentence) == (levels, None)


def test_error_passes_the_pipe() -> None:
    made = SentenceReply(error="the microphone is muted", hint="run earmark mute off")

    assert parse_reply(encode_reply(made)) == made


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - every reason is one kind of error here
        parse_reply(b"x" + line)


def test_long_line_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_reply(b" " * LONGEST_REPLY_BYTES + b"{}")
