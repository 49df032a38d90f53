"""Canonical JSON: each value has one spelling, so that who signs and who checks see the same bytes.

Sorted keys, no spaces, ASCII, and fractions in 1 to 4 decimals; ``docs/reference/envelope.md``
specifies it.
"""

import re
from typing import TypeVar

import msgspec

from listener.errors import BadEnvelope


class Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields with types and ranges; unknown ones are refused."""


_AnyFields = TypeVar("_AnyFields", bound=Fields)


def canonical_json(fields: Fields) -> bytes:
    """Spell ``fields`` as canonical JSON: sorted keys, no spaces, fractions in 1 to 4 decimals."""
    return encode_object(
        {name: encode_value(value) for name, value in msgspec.structs.asdict(fields).items()}
    )


def read_fields(line: bytes, kind: type[_AnyFields], name: str) -> _AnyFields:
    """Read fields that are spelled in their one way.

    Args:
        line: any bytes at all.
        kind: what they must be.
        name: what they are called in messages.

    Raises:
        BadEnvelope: they are anything else. Nothing else is ever raised.
    """
    try:
        fields = msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:
        # msgspec's text may quote foreign bytes; the names of our own fields are safe to repeat.
        known = re.search(r"at `\$\.([a-z0-9_]{1,16})`\Z", str(error))
        where = f"{name}: {known[1]}" if known else name
        raise BadEnvelope(f"the {where} is not what it must be") from error
    if canonical_json(fields) != line:
        raise BadEnvelope(f"the {name} is not canonical JSON")
    return fields


def encode_object(values: dict[str, msgspec.Raw]) -> bytes:
    """Spell an object whose values are spelled already: sorted keys, no spaces."""
    return msgspec.json.encode(values, order="sorted")


def encode_value(value: object) -> msgspec.Raw:
    """Spell one value: a fraction in 1 to 4 decimals, anything else as JSON has it."""
    if isinstance(value, float):
        # Fixed by digits, so that every language writes the same: 0.93, 1.0, never 1e-05.
        digits = f"{value + 0.0:.4f}".rstrip("0")
        return msgspec.Raw(
            ("0.0" if digits == "-0." else digits + "0" * digits.endswith(".")).encode()
        )
    return msgspec.Raw(msgspec.json.encode(value))
