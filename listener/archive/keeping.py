"""What the archive asks of whatever keeps its clips, and the two ways in which that may decline."""

from collections.abc import Iterator
from typing import Protocol

from listener.archive.vouching import ClipRecord
from listener.envelope.format import Envelope
from listener.errors import EarmarkError


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
