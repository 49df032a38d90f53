"""How long an owner lets a clip of hers wait anywhere: one signed message an owner, retained. Pure.

It can only make a time shorter. It is signed all the same: without that, whoever carries it could
empty the spools of every speaker by saying so.
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
    """What the archive says an owner has chosen."""

    v: Literal[1] = 1
    kind: Literal["retention"] = "retention"
    """A signature over this is none over anything else that the archive signs."""
    owner: ShortName
    days: Annotated[int, Meta(ge=1, le=3650)]
    n: Annotated[int, Meta(ge=1, le=1 << 53)]
    """Counts her choices: an old one, said again, is not obeyed."""

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""
        return msgspec.json.encode(self, order="sorted")


class _SignedLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    term: RetentionLimit
    signature: Annotated[str, Meta(max_length=88)]


def encode(term: RetentionLimit, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        term: what is said.
        sign: makes the archive's Ed25519 signature.
    """
    signature = base64.b64encode(sign(term.canonical())).decode("ascii")
    return msgspec.json.encode(_SignedLimit(term=term, signature=signature), order="sorted")


def parse(payload: bytes, verify: Callable[[bytes, bytes], bool]) -> RetentionLimit | None:
    """Return what the archive said, or None for any bytes that it did not sign.

    Args:
        payload: any bytes at all.
        verify: says whether a signature, its first argument, is the archive's over its second.
    """
    if len(payload) > LONGEST_BYTES:
        return None
    try:
        limit = msgspec.json.decode(payload, type=_SignedLimit)
        signature = base64.b64decode(limit.signature, validate=True)
    except (ValueError, RecursionError, binascii.Error):
        return None
    return limit.term if verify(signature, limit.term.canonical()) else None
