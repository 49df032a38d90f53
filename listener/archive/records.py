"""What the archive asks of whatever keeps its clips, and the two ways in which that may decline.

A row of the index vouches for itself: a code over what it says, made when its file was verified.

To verify a file again for each row of a list would cost a disk and a signature each. So what was
verified at intake is bound to the row: a row that anybody or anything changed since, or that came
from another index, vouches for nothing, and its file is asked instead.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.envelope.format import Envelope
from listener.errors import EarmarkError

_PERSON: Final = b"earmark-index-1"
_CODE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """An archived clip, as its header describes it."""

    clip: str
    owner: str
    device: str
    seq: int
    t: str
    ttl_s: int
    size_bytes: int
    received_s: int
    expires_s: int


@dataclass(frozen=True, slots=True)
class RowMac:
    """Makes and checks the codes.

    Args:
        secret: of this archive, 64 bytes at most; with none, only accidents are noticed.
    """

    secret: bytes = b""

    @classmethod
    def for_key(cls, key: Ed25519PrivateKey) -> "RowMac":
        """Return that of the archive with this key."""
        return cls(hashlib.blake2b(key.private_bytes_raw(), person=_PERSON).digest())

    def compute(self, kept: ClipRecord) -> str:
        """Return the code for what a row says."""
        # Written out: dataclasses.astuple copies deeply, and would take most of the time.
        said = msgspec.json.encode(
            (
                *(kept.clip, kept.owner, kept.device, kept.seq, kept.t, kept.ttl_s),
                *(kept.size_bytes, kept.received_s, kept.expires_s),
            )
        )
        return hashlib.blake2b(
            said, key=self.secret, digest_size=_CODE_BYTES, person=_PERSON
        ).hexdigest()


class Replayed(EarmarkError):
    """Other bytes claim what an archived clip has: refuse them, keep what is there."""


class Erased(EarmarkError):
    """This clip was here and is gone for good: do not take it again."""


class Store(Protocol):
    """What the archive needs to keep clips. SQLite and files here; others fit."""

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        """Keep a verified envelope durably.

        Args:
            envelope: what ``verify`` returned.
            data: its bytes.
            received_s: now, seconds since 1970.

        Returns:
            False when exactly these bytes were here already.

        Raises:
            Replayed: its id, its ciphertext or its number belongs to another envelope.
            Erased: it was erased.
            Unavailable: it cannot be kept now.
        """

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        """Yield what is here, in the order of its time; only one owner's if asked."""

    def expire(self, now_s: int) -> int:
        """Erase what has outlived its retention; return how many clips went."""
