"""JSON objects in which no name occurs twice (RFC 8259, section 4, leaves their meaning open).

Most readers take the last of two equal names, some the first. Where a signature or a check is on
the meaning of a document and not on its bytes, such a document would mean two things.
"""

import json
from typing import Any, TypeVar

import msgspec

_Any = TypeVar("_Any")


def decode(data: bytes, kind: type[_Any]) -> _Any:
    """Decode JSON as ``msgspec.json.decode`` does, if no name occurs twice in any object.

    Args:
        data: any bytes are safe.
        kind: type of the value.

    Raises:
        ValueError: it is not JSON of this type, or a name occurs twice. Nothing else is raised.
    """
    try:
        value = msgspec.json.decode(data, type=kind)
        json.loads(data.decode("utf-8"), object_pairs_hook=_check_names)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    return value


def decode_object(data: bytes) -> dict[str, Any]:
    """Decode one JSON object; see ``decode``."""
    return decode(data, dict[str, Any])


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice in a JSON object")
