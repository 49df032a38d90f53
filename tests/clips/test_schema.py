import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.clips import schema
from listener.errors import Unavailable

KINDS = [
    schema.TicketReply,
    schema.ErrorReply,
    schema.ListReply,
    schema.RetentionReply,
    schema.KeysReply,
    schema.ArchiveReply,
    schema.LogReply,
]


@given(st.binary(), st.sampled_from(KINDS))
def test_bytes_are_an_answer_or_one_error(data: bytes, kind: type[object]) -> None:
    with contextlib.suppress(Unavailable):
        schema.parse(data, kind)


@pytest.mark.parametrize(
    "data",
    [
        b'{"clips":[{"clip":"../../x"}],"next":null}',
        b'{"clips":[],"next":"\\u001b[2J"}',
        b'{"clips":"x"}',
        b"[" * 100_000,
        b'{"clips":[]} trailing',
    ],
)
def test_an_answer_of_another_shape_is_refused(data: bytes) -> None:
    with pytest.raises(Unavailable):
        schema.parse(data, schema.ListReply)


def test_a_newer_archive_may_say_more() -> None:
    assert schema.parse(b'{"clips":[],"next":null,"more":1}', schema.ListReply).clips == ()


@given(st.text())
def test_a_strangers_words_cannot_steer_a_terminal(text: str) -> None:
    said = schema.sanitize(text)

    assert said.isprintable()
    assert len(said) <= 300
