"""Events of the Wyoming protocol, read with bounds.

An event is a line of JSON, then ``data_length`` bytes of JSON, then ``payload_length`` bytes
(https://github.com/OHF-Voice/wyoming). The package's own reader takes any length, and ends a
connection on bytes that are no event without an answer; this one refuses both with one error.
"""

import asyncio
import json
from typing import Any, Final

from wyoming.event import Event

LONGEST_LINE_BYTES: Final = 8 << 10
LONGEST_DATA_BYTES: Final = 64 << 10
LONGEST_PAYLOAD_BYTES: Final = 1 << 20
"""Half a minute of 16 kHz int16."""


class FramingError(Exception):
    """The bytes are not an event, or are longer than the bounds."""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """Read one event; return None at the end of the stream.

    Args:
        reader: with a limit of at least `LONGEST_LINE_BYTES`.

    Raises:
        FramingError: the bytes are not an event.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        if len(line) > LONGEST_LINE_BYTES:
            raise FramingError("the line of an event is too long")
        head = _parse_object(line)
        data = _take_object(head.get("data", {}))
        length = _take_length(head, "data_length", LONGEST_DATA_BYTES)
        if length:
            data |= _parse_object(await reader.readexactly(length))
        length = _take_length(head, "payload_length", LONGEST_PAYLOAD_BYTES)
        payload = await reader.readexactly(length) if length else None
    except asyncio.IncompleteReadError as error:
        raise FramingError("the stream ended within an event") from error
    except ValueError as error:  # also asyncio's, of a line without an end
        raise FramingError("the bytes are not an event of the Wyoming protocol") from error
    kind = head.get("type")
    if not isinstance(kind, str):
        raise FramingError("an event has no type")
    return Event(type=kind, data=data, payload=payload)


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        return _take_object(json.loads(data))
    except RecursionError as error:
        raise FramingError("the JSON of an event is nested too deeply") from error


def _take_object(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FramingError("an event is not a JSON object")
    return dict(value)


def _take_length(head: dict[str, Any], name: str, most_bytes: int) -> int:
    value = head.get(name) or 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most_bytes:
        raise FramingError(f"{name} is not a number from 0 to {most_bytes}")
    return value
