"""JSON in which a name may occur twice has more than one meaning."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.strict_json import decode, decode_object

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(1 << 60), 1 << 60), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), JSON))
def test_object_is_decoded(fields: dict[str, object]) -> None:
    assert decode_object(json.dumps(fields).encode()) == fields
    assert decode_object(json.dumps(fields, ensure_ascii=False).encode()) == fields


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"\\u0061":2}',
        '{"a":{"b":1,"b":2}}',
        '{"a":[{"b":1,"b":2}]}',
        '{"a":NaN}',
        '{"a":-Infinity}',
        "[]",
        "1",
        "",
        "{} {}",
        '{"a":"\\ud800"}',
        "\ufeff{}",
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
        decode_object(text.encode())


@given(st.binary())
def test_bytes_are_an_object_or_one_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_object(data), dict)


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of one field."""

    name: str


def test_typed_message_is_decoded_once_only() -> None:
    assert decode(b'{"name":"ada"}', Named) == Named("ada")
    for data in (b'{"name":"bob","name":"ada"}', b'{"name":1}', b'{"other":""}'):
        with pytest.raises(ValueError):  # noqa: PT011 - each case has another message
            decode(data, Named)
