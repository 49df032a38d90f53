"""Highest sequence number that the archive accepted of a device's key: signed, retained. Pure.

A card that is restored from a copy brings an older number back. The device continues above both its
own number and this one. The statement is signed by the archive: otherwise the broker could use up a
device's numbers.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from listener.config import ShortName

LONGEST_BYTES: Final = 1024


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


class _SignedSequence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sequence: AcceptedSequence
    signature: Annotated[str, Meta(max_length=88)]


def encode(accepted: AcceptedSequence, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the payload.

    Args:
        accepted: the statement.
        sign: returns the archive's Ed25519 signature.
    """
    signature = base64.b64encode(sign(accepted.canonical())).decode("ascii")
    signed = _SignedSequence(sequence=accepted, signature=signature)
    return msgspec.json.encode(signed, order="sorted")


def parse(payload: bytes, verify: Callable[[bytes, bytes], bool]) -> AcceptedSequence | None:
    """Return the statement, or None for bytes that the archive did not sign.

    Args:
        payload: any bytes at all.
        verify: returns whether a signature, its first argument, is the archive's over its second.
    """
    if len(payload) > LONGEST_BYTES:
        return None
    try:
        signed = msgspec.json.decode(payload, type=_SignedSequence)
        signature = base64.b64decode(signed.signature, validate=True)
    except (ValueError, RecursionError, binascii.Error):
        return None
    return signed.sequence if verify(signature, signed.sequence.canonical()) else None
