"""Storage of envelopes as opaque bytes, by owner and clip id: the interface.

``files.FileBlobs`` implements it with files, ``fleet.object_blobs.ObjectBlobs`` with an object
store. Neither looks into the bytes. Rows about them are the store's.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from listener.errors import EarmarkError


class BlobConflict(EarmarkError):
    """Other bytes are stored under the same owner and id; they are never replaced."""


class UnreadableBlob(EarmarkError):
    """One blob cannot be read; the others can: a damaged sector, a link, a pipe."""


class Blobs(Protocol):
    """Stored envelopes. Safe for several threads.

    Raises:
        Unavailable: from each method, if the storage cannot be used.
    """

    def put_new(self, owner: str, clip: str, data: bytes) -> bool:
        """Store an envelope durably; return False if the same bytes were stored already.

        Raises:
            BlobConflict: other bytes are stored under this owner and id.
        """

    def get(self, owner: str, clip: str) -> bytes | None:
        """Return an envelope's bytes, at most one more than its size limit; None without one.

        Raises:
            UnreadableBlob: this one cannot be read.
        """

    def exists(self, owner: str, clip: str) -> bool:
        """Return True if something is stored under this owner and id."""

    def ids(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's envelopes, in no order and in constant memory."""

    def erase(self, places: Iterable[tuple[str, str]]) -> None:
        """Erase envelopes, by owner and id; those that do not exist are skipped."""

    def arrived_s(self, owner: str, clip: str) -> int:
        """Return the time of an envelope's arrival, or the start of its retention.

        Returns:
            Seconds since 1970.

        Raises:
            Unavailable: there is no such envelope.
        """
