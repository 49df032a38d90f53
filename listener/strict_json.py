"""JSON objects in which no name occurs twice (RFC 8259, section 4, leaves their meaning open).

Most readers take the last of two equal names, some the first. Where a signature or a check is on
the meaning of a document and not on its bytes, such a document would mean two things.
"""

import json
from typing import Any


def decode_object(data: bytes | str) -> dict[str, Any]:
    """Decode one JSON object.

    Args:
        data: any bytes are safe.

    Raises:
        ValueError: it is not a JSON object in UTF-8, a name occurs twice, or a number is NaN or
            infinite. Nothing else is raised.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        fields = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError("JSON is not an object")  # noqa: TRY004 - of the text, not of a caller's type
    return fields


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name occurs twice in a JSON object")
    return fields


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
