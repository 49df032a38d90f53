"""Requests and answers of the embedding process; the parent refuses every other answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear.voiceprint.embedding_protocol import (
    ANSWER_HEADER,
    EMBEDDING_DIMENSIONS,
    LONGEST_REQUEST_SAMPLES,
    REQUEST_HEADER,
    SPEECH_STEP_SAMPLES,
    EmbeddingProtocolError,
    RequestType,
    encode_answer,
    encode_failure,
    encode_request,
    parse_answer,
    parse_request,
)
from listener.inference.onnx import SPEECH_STEP_SAMPLES as NETWORK_STEP_SAMPLES
from listener.inference.speaker_embedding import DIMENSIONS
from listener.voiceprint.record import EMBEDDING_DIMENSIONS as VOICEPRINT_DIMENSIONS

UNIT = np.eye(1, EMBEDDING_DIMENSIONS, dtype=np.float32)[0]
SAMPLES = 5 * SPEECH_STEP_SAMPLES + 100
PROBABILITIES = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)


def test_sizes_are_those_of_the_networks_and_of_the_voiceprint() -> None:
    assert SPEECH_STEP_SAMPLES == NETWORK_STEP_SAMPLES
    assert EMBEDDING_DIMENSIONS == DIMENSIONS == VOICEPRINT_DIMENSIONS


@pytest.mark.parametrize("kind", RequestType)
def test_request_is_read_as_it_was_written(kind: RequestType) -> None:
    count = 0 if kind is RequestType.RESET else LONGEST_REQUEST_SAMPLES

    assert parse_request(encode_request(kind, count)) == (kind, count)


@pytest.mark.parametrize(
    ("number", "count"),
    [(0, 0), (5, 0), (RequestType.EMBED, LONGEST_REQUEST_SAMPLES + 1), (RequestType.RESET, 1)],
)
def test_other_request_is_refused(number: int, count: int) -> None:
    with pytest.raises(EmbeddingProtocolError):
        parse_request(REQUEST_HEADER.pack(number, count))


def test_answer_is_read_as_it_was_written() -> None:
    embedding = parse_answer(
        encode_answer(RequestType.EMBED, UNIT), RequestType.EMBED, LONGEST_REQUEST_SAMPLES
    )
    speech = parse_answer(
        encode_answer(RequestType.SPEECH_NEXT, PROBABILITIES), RequestType.SPEECH_NEXT, SAMPLES
    )

    np.testing.assert_array_equal(embedding, UNIT)
    np.testing.assert_array_equal(speech, PROBABILITIES)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (encode_failure(), RequestType.EMBED),
        (encode_answer(RequestType.SPEECH_START, UNIT), RequestType.EMBED),
        (encode_answer(RequestType.EMBED, UNIT[:-1]), RequestType.EMBED),
        (encode_answer(RequestType.EMBED, UNIT * 1.01), RequestType.EMBED),
        (encode_answer(RequestType.EMBED, UNIT * 0), RequestType.EMBED),
        (encode_answer(RequestType.EMBED, UNIT * np.float32(np.nan)), RequestType.EMBED),
        (ANSWER_HEADER.pack(RequestType.EMBED, 1) + UNIT.tobytes(), RequestType.EMBED),
        (encode_answer(RequestType.SPEECH_START, PROBABILITIES * 2), RequestType.SPEECH_START),
        (encode_answer(RequestType.SPEECH_START, PROBABILITIES - 1), RequestType.SPEECH_START),
        (encode_answer(RequestType.SPEECH_START, PROBABILITIES[1:]), RequestType.SPEECH_START),
    ],
)
def test_other_answer_is_refused(answer: bytes, kind: RequestType) -> None:
    with pytest.raises(EmbeddingProtocolError):
        parse_answer(answer, kind, SAMPLES)


@given(st.binary(min_size=8, max_size=28).filter(lambda data: len(data) % 4 == 0))
def test_any_bytes_are_an_answer_or_refused(data: bytes) -> None:
    try:
        values = parse_answer(data, RequestType.SPEECH_START, SAMPLES)
    except EmbeddingProtocolError:
        return
    assert ((values >= 0) & (values <= 1)).all()
