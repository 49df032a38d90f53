"""Versions and their order.

Separate from the release file, so that ``send`` reads a version without loading cryptography.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Version = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){2}\Z")]
"""Three numbers separated by points: 1.20.3."""
Summary = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
"""Summary of the changes, one line."""


def version_key(version: str) -> tuple[int, ...]:
    """Return the sort key of a version.

    Args:
        version: as ``Version``; anything else sorts before every version.
    """
    numbers = version.split(".")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return ()
    return tuple(int(number[:9]) for number in numbers)


def is_version(text: str) -> bool:
    """Return whether a text is a version."""
    try:
        msgspec.convert(text, Version)
    except msgspec.ValidationError:
        return False
    return True
