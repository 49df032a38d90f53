"""Text files: a byte order mark is not content, and UTF-16 is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.text_encoding import NotUtf8Error, decode_text, is_utf16


@given(st.text())
def test_text_is_the_same_with_and_without_a_mark(text: str) -> None:
    if text.startswith("\ufeff") or is_utf16(text.encode()):
        return
    assert decode_text(text.encode()) == text
    assert decode_text(text.encode("utf-8-sig")) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(encoding: str) -> None:
    with pytest.raises(NotUtf8Error, match="it is UTF-16 text; save it as UTF-8"):
        decode_text("[broker]\r\n".encode(encoding))


@pytest.mark.parametrize("data", [b"\xff", b"caf\xe9", b"\xff\xfe", b"\xc3"])
def test_other_bytes_are_not_text(data: bytes) -> None:
    with pytest.raises(NotUtf8Error, match="not UTF-8 text"):
        decode_text(data)


@given(st.binary())
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    try:
        assert decode_text(data).encode() in {data, data[3:]}
    except NotUtf8Error:
        assert is_utf16(data) or not is_text(data)


def is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
