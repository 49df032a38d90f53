"""Retention limit of an owner's clips: one signed, retained message for each owner. Pure.

It can only shorten a time. It is signed by the archive all the same: otherwise the broker could
empty the spool of every speaker.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.mqtt.signed_statement import encode_signed, parse_signed


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


def encode(term: RetentionLimit, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        term: the limit.
        sign: returns the archive's Ed25519 signature.
    """
    return encode_signed("term", term, sign)


def parse(payload: bytes, verify: Callable[[bytes, bytes], bool]) -> RetentionLimit | None:
    """Return the limit, or None for bytes that the archive did not sign; see `parse_signed`."""
    return parse_signed(payload, "term", RetentionLimit, verify)
