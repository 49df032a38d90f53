"""Highest sequence number that the archive accepted of a device's key: signed, retained. Pure.

A card that is restored from a copy brings an older number back. The device continues above both its
own number and this one. The statement is signed by the archive: otherwise the broker could use up a
device's numbers.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName
from listener.mqtt.signed_statement import encode_signed, parse_signed


class AcceptedSequence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statement of the archive: the highest number that it accepted of a device's key."""

    v: Literal[1] = 1
    kind: Literal["sequence"] = "sequence"
    """Domain separation: a signature over this is not valid for another kind of message."""
    device: ShortName
    dkey: Annotated[str, Meta(pattern=r"^[a-z2-7]{24}\Z")]
    """Fingerprint of the device's key."""
    seq: Annotated[int, Meta(ge=1, le=999_999_999_999)]

    def canonical(self) -> bytes:
        """Return the bytes that are signed."""
        return msgspec.json.encode(self, order="sorted")


def encode(accepted: AcceptedSequence, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        accepted: the statement.
        sign: returns the archive's Ed25519 signature.
    """
    return encode_signed("sequence", accepted, sign)


def parse(payload: bytes, verify: Callable[[bytes, bytes], bool]) -> AcceptedSequence | None:
    """Return the statement, or None for bytes that the archive did not sign; see `parse_signed`."""
    return parse_signed(payload, "sequence", AcceptedSequence, verify)
