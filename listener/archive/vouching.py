"""A row of the index vouches for itself: a code over what it says, made when its file was verified.

To verify a file again for each row of a list would cost a disk and a signature each. So what was
verified at intake is bound to the row: a row that anybody or anything changed since, or that came
from another index, vouches for nothing, and its file is asked instead.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
