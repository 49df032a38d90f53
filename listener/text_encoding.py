"""Text files that people write: UTF-8, with or without a byte order mark. Pure.

Editors on Windows put a byte order mark before UTF-8, and PowerShell writes UTF-16 by default.
"""

from typing import Final

UTF8_MARK: Final = b"\xef\xbb\xbf"
"""Byte order mark of UTF-8 (RFC 3629, section 6)."""

_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_FEWEST_BYTES: Final = 4  # two characters
_SEEN_BYTES: Final = 64


class NotUtf8Error(ValueError):
    """Bytes that are not UTF-8 text; the message has the reason."""


def decode_text(data: bytes) -> str:
    """Return the text of a file without its byte order mark.

    Args:
        data: whole content of the file.

    Raises:
        NotUtf8Error: it is UTF-16, or not text.
    """
    if is_utf16(data):
        raise NotUtf8Error("it is UTF-16 text; save it as UTF-8")
    try:
        return data.removeprefix(UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8Error("it is not UTF-8 text") from error


def is_utf16(data: bytes) -> bool:
    """Return whether text is UTF-16: with its mark, or ASCII with a zero in every other byte."""
    if len(data) < _FEWEST_BYTES:
        return False
    first, second = data[0:_SEEN_BYTES:2], data[1:_SEEN_BYTES:2]
    return data.startswith(_UTF16_MARKS) or any(
        all(letters) and not any(zeros) for letters, zeros in ((first, second), (second, first))
    )
