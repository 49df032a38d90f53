"""Archived clips as records: ``ClipRecord``, the MAC of its index row, and the store's interface.

The archive verifies a file when it arrives. To verify it again for each row of a list would cost
a file read and a signature check each. So the index row carries a MAC computed at intake (decision
0033): a row that was changed since, or that comes from another index, has no valid MAC, and its
file is verified again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.elapsed_time import NO_WAIT, ArchiveTime, Wait
from listener.envelope.format import Envelope
from listener.errors import EarmarkError

_PERSONALISATION: Final = b"earmark-index-1"
_SEALER: Final = b"earmark-sealer-1"
_MAC_BYTES: Final = 16


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
    """Keyed BLAKE2b (RFC 7693) over an index row.

    Args:
        secret: key of this archive, at most 64 bytes; an empty key detects accidents only.
    """

    secret: bytes = b""

    @classmethod
    def for_key(cls, key: Ed25519PrivateKey) -> "RowMac":
        """Derive the MAC key from the archive's signing key."""
        return cls(hashlib.blake2b(key.private_bytes_raw(), person=_PERSONALISATION).digest())

    def compute(self, record: ClipRecord) -> str:
        """Return the MAC of a record, 32 hexadecimal digits."""
        # Written out: dataclasses.astuple copies deeply, and would take most of the time.
        row = msgspec.json.encode(
            (
                *(record.clip, record.owner, record.device, record.seq, record.t, record.ttl_s),
                *(record.size_bytes, record.received_s, record.expires_s),
            )
        )
        return self.compute_bytes(row)

    def compute_bytes(self, data: bytes) -> str:
        """Return the MAC of other bytes of the index, 32 hexadecimal digits."""
        return hashlib.blake2b(
            data, key=self.secret, digest_size=_MAC_BYTES, person=_PERSONALISATION
        ).hexdigest()

    def compute_sealer(self, owner: str, device: str) -> str:
        """Return the MAC of the fact that a device has sealed a clip for an owner.

        It is stored in place of the names, which an erasure removes.
        """
        pair = msgspec.json.encode((owner, device))
        return hashlib.blake2b(
            pair, key=self.secret, digest_size=_MAC_BYTES, person=_SEALER
        ).hexdigest()


class Replayed(EarmarkError):
    """Other bytes claim an archived clip's id, ciphertext or sequence number: refuse them."""


class Erased(EarmarkError):
    """The clip was erased, or its owner's order covers it: do not store it again."""


class Undecided(EarmarkError):
    """Whether an owner's order covers the clip depends on time that is not decided yet."""


class Store(Protocol):
    """Interface of a clip store. ``FileStore`` implements it with files and SQLite."""

    def keep(
        self,
        envelope: Envelope,
        data: bytes,
        received_s: int,
        *,
        wait: Wait = NO_WAIT,
        now: ArchiveTime | None = None,
    ) -> bool:
        """Store a verified envelope durably.

        Args:
            envelope: as ``verify`` returned it.
            data: its bytes.
            received_s: accepted time of arrival, seconds since 1970.
            wait: time since the envelope was sealed.
            now: time of arrival by each measure, to compare with erase orders.

        Returns:
            False if exactly these bytes were stored already.

        Raises:
            Replayed: another envelope has its id, ciphertext or sequence number.
            Erased: it was erased.
            Undecided: whether an erase order covers it is not decided yet; offer it again.
            Unavailable: it cannot be stored now.
        """

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        """Yield the stored clips in order of time; only one owner's, if given."""

    def expire(self, now_s: int) -> int:
        """Erase the clips whose retention ended by accepted time ``now_s``; return their number."""
