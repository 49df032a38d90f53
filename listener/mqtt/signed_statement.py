"""Statements that the archive signs for retained messages: JSON with the statement and a signature.

A statement has one payload, so that no other reader can see another statement in it. Pure.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import msgspec

LONGEST_BYTES: Final = 1024
"""Length of the longest payload of a statement by the archive."""


class Statement(Protocol):
    """Fields that are signed: a struct of msgspec."""

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""


StatementT = TypeVar("StatementT", bound=Statement)


def encode_signed(name: str, statement: Statement, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        name: JSON name of the statement in the payload.
        statement: the fields.
        sign: returns the archive's Ed25519 signature.
    """
    return _render(name, statement, sign(statement.canonical()))


def parse_signed(
    payload: bytes,
    name: str,
    kind: type[StatementT],
    verify: Callable[[bytes, bytes], bool],
    longest_bytes: int = LONGEST_BYTES,
) -> StatementT | None:
    """Return the statement, or None for bytes that the archive did not sign.

    Args:
        payload: any bytes at all.
        name: JSON name of the statement in the payload.
        kind: type of the statement, which refuses unknown fields.
        verify: returns whether a signature, its first argument, is the archive's over its second.
        longest_bytes: length of the longest payload that is parsed.
    """
    if len(payload) > longest_bytes:
        return None
    try:
        parts = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        statement = msgspec.json.decode(parts[name], type=kind)
        text = msgspec.json.decode(parts["signature"], type=str)
        signature = base64.b64decode(text, validate=True)
    except (ValueError, KeyError, RecursionError, binascii.Error):
        return None
    is_canonical = payload == _render(name, statement, signature)
    return statement if is_canonical and verify(signature, statement.canonical()) else None


def _render(name: str, statement: Statement, signature: bytes) -> bytes:
    text = base64.b64encode(signature).decode("ascii")
    return msgspec.json.encode({name: statement, "signature": text}, order="sorted")
