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
def test_any_bytes_parse_or_raise_one_error(data: bytes, kind: type[object]) -> None:
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
def test_response_that_violates_the_schema_is_refused(data: bytes) -> None:
    with pytest.raises(Unavailable):
        schema.parse(data, schema.ListReply)


def test_unknown_fields_are_ignored() -> None:
    assert schema.parse(b'{"clips":[],"next":null,"more":1}', schema.ListReply).clips == ()


@given(st.text())
def test_untrusted_text_has_no_control_characters(text: str) -> None:
    line = schema.sanitize(text)

    assert line.isprintable()
    assert len(line) <= 300
