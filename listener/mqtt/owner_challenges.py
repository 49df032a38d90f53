"""A speaker's statements about its owners' keys, with open challenges; and the answers. Pure.

The speaker signs one statement for each of its owners. The household collects the statements about
one owner, and publishes the owner's answers; it can make neither a challenge nor an answer.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.mqtt.signed_statement import encode_signed, parse_signed

LONGEST_STATEMENT_BYTES: Final = 2 << 10
LONGEST_BYTES: Final = 64 << 10
"""Length of the longest list of statements."""
LONGEST_ANSWERS_BYTES: Final = 4 << 10
MOST_ANSWERS: Final = 16

_AnswerLine = Annotated[str, Meta(pattern=r"^[a-z0-9:-]{1,160}\Z")]
_Answers = Annotated[tuple[_AnswerLine, ...], Meta(max_length=MOST_ANSWERS)]
Verify = Callable[[bytes, bytes], bool]
"""Returns whether a signature, its first argument, is a key's over its second."""


class OwnerStatement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statement of a speaker, or of the archive, about the key of one owner."""

    v: Literal[1] = 1
    kind: Literal["owner-challenge"] = "owner-challenge"
    """Domain separation: a signature over this is not valid for another kind of message."""
    device: ShortName
    """Name of the speaker, or ``archive``."""
    dkey: Annotated[str, Meta(pattern=r"^[a-z2-7]{24}\Z")]
    """Fingerprint of the key that signs."""
    owner: ShortName
    recipient: Annotated[str, Meta(pattern=r"^age1[a-z0-9]{58}\Z")]
    """Public key of the owner, as a person gave it to the speaker."""
    made_s: Annotated[int, Meta(ge=0, le=1 << 40)]
    """Time of the statement by the speaker's clock, seconds since 1970."""
    challenge: Annotated[str, Meta(max_length=1200)] | None = None
    """Age file, armored, to this key; None once the owner has confirmed the key."""

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""
        return msgspec.json.encode(self, order="sorted")


def encode_statement(statement: OwnerStatement, sign: Callable[[bytes], bytes]) -> bytes:
    """Return a signed statement.

    Args:
        statement: the statement.
        sign: returns the Ed25519 signature by the key of the speaker, or of the archive.
    """
    return encode_signed("owner", statement, sign)


def parse_statement(data: bytes, verify: Verify) -> OwnerStatement | None:
    """Return the statement, or None for bytes that the key did not sign; see `parse_signed`."""
    return parse_signed(data, "owner", OwnerStatement, verify, LONGEST_STATEMENT_BYTES)


def encode_statements(statements: Iterable[bytes]) -> bytes:
    """Return the payload with signed statements."""
    return b"[" + b",".join(statements) + b"]"


def split_statements(payload: bytes) -> list[bytes]:
    """Return the signed statements in a payload from anywhere, none of them verified."""
    try:
        if len(payload) > LONGEST_BYTES:
            return []
        return [bytes(raw) for raw in msgspec.json.decode(payload, type=list[msgspec.Raw])]
    except (ValueError, RecursionError):
        return []


def encode_answers(answers: Sequence[str]) -> bytes:
    """Return the payload with the answers for one speaker."""
    return msgspec.json.encode(list(answers))


def parse_answers(payload: bytes) -> tuple[str, ...]:
    """Return the answers in a payload from anywhere; none for bytes that are not one."""
    try:
        if len(payload) > LONGEST_ANSWERS_BYTES:
            return ()
        lines: tuple[str, ...] = msgspec.json.decode(payload, type=_Answers)
    except (ValueError, RecursionError):
        return ()
    return lines
