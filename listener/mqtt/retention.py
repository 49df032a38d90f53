"""Retention limit of an owner's clips: one signed, retained message for each owner. Pure.

It can only shorten a time. It is signed by the archive all the same: otherwise the broker could
empty the spool of every speaker.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName

LONGEST_BYTES: Final = 1024


class RetentionLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retention limit that an owner has set, as the archive publishes it."""

    v: Literal[1] = 1
    kind: Literal["retention"] = "retention"
    """Domain separation: a signature over this is not valid for another kind of message."""
    owner: ShortName
    days: Annotated[int, Meta(ge=1, le=3650)]
    n: Annotated[int, Meta(ge=1, le=1 << 53)]
    """Number of the change; a lower one is a replay and ignored."""

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""
        return msgspec.json.encode(self, order="sorted")


class _SignedLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    term: RetentionLimit
    signature: Annotated[str, Meta(max_length=88)]


def encode(term: RetentionLimit, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        term: the limit.
        sign: returns the archive's Ed25519 signature.
    """
    return _render(term, sign(term.canonical()))


def parse(payload: bytes, verify: Callable[[bytes, bytes], bool]) -> RetentionLimit | None:
    """Return the limit, or None for bytes that the archive did not sign.

    Args:
        payload: any bytes at all.
        verify: returns whether a signature, its first argument, is the archive's over its second.
    """
    if len(payload) > LONGEST_BYTES:
        return None
    try:
        limit = msgspec.json.decode(payload, type=_SignedLimit)
        signature = base64.b64decode(limit.signature, validate=True)
    except (ValueError, RecursionError, binascii.Error):
        return None
    # One limit has one payload, so that no other reader can see another limit in it.
    is_canonical = payload == _render(limit.term, signature)
    return limit.term if is_canonical and verify(signature, limit.term.canonical()) else None


def _render(term: RetentionLimit, signature: bytes) -> bytes:
    text = base64.b64encode(signature).decode("ascii")
    return msgspec.json.encode(_SignedLimit(term=term, signature=text), order="sorted")
