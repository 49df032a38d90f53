"""What versions are called, and which is newer.

Apart from the release file, so that who only tells a version loads nothing that checks signatures.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Version = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){2}\Z")]
"""Three numbers with points between: 1.20.3."""
Summary = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
"""What is new, in one line."""


def version_key(version: str) -> tuple[int, ...]:
    """Return what versions are compared by.

    Args:
        version: as ``Version``; anything else sorts before every version.
    """
    numbers = version.split(".")
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return ()
    return tuple(int(number[:9]) for number in numbers)


def is_version(text: str) -> bool:
    """Say whether a text is a version."""
    try:
        msgspec.convert(text, Version)
    except msgspec.ValidationError:
        return False
    return True
