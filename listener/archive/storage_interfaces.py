"""Interfaces of the archive's storage: clips, owners' settings and access log.

A household stores files and SQLite databases (``store.FileStore``, ``owner_state.OwnerState``,
``storage.access_log.AccessLog``). Several archive processes share PostgreSQL and an object store
(``fleet``). Envelopes themselves are behind ``blobs.Blobs``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from listener.archive.archive_clock import TimeStore
from listener.archive.blobs import Blobs
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.owner_state import PendingConsent, Tombstone
from listener.archive.pending_messages import PendingMessage
from listener.archive.quarantine import ErasedFile, QuarantinedFile
from listener.archive.records import ClipRecord, Store
from listener.envelope.format import Envelope
from listener.mqtt.retention import RetentionLimit
from listener.rights.hash_chain import LogHead
from listener.storage.access_log import LogEntry


class OwnerRecords(Protocol):
    """Erased clips and owners' settings. Safe for several threads.

    ``owner_state.OwnerState`` describes the methods.

    Raises:
        Unavailable: from each method, if the storage cannot be used.
    """

    @property
    def version(self) -> int:
        """Number that changes with every change of what devices are sent."""

    def is_erased(self, clip: str) -> bool:
        """Return True if a clip was erased."""

    def set_retention(self, owner: str, days: int) -> None:
        """Set an owner's retention limit in days."""

    def retention_of(self, owner: str) -> int | None:
        """Return an owner's retention limit in days; None without one."""

    def retention_limits(self) -> list[RetentionLimit]:
        """Return the retention limits as published to devices."""

    def set_pending_keys(self, owner: str, messages: Mapping[str, str]) -> None:
        """Store an owner's key rotations to be published to devices, all or none."""

    def pending_keys(self) -> dict[str, list[PendingMessage]]:
        """Return the stored key rotations by device, oldest first."""

    def devices_with_pending_key(self, owner: str, recipient: str) -> list[str]:
        """Return the devices to which a rotation to an owner's key is published, by name."""

    def set_consents(self, consents: Sequence[PendingConsent]) -> None:
        """Store consents to be published to devices, all or none."""

    def consents(self) -> list[PendingConsent]:
        """Return the stored consents; the owner whose last change is oldest is first."""

    def consent_devices(self) -> list[str]:
        """Return the devices to which a consent was ever to be published, by name."""

    def remove_consents(self, is_void: Callable[[PendingConsent], bool]) -> int:
        """Remove the consents for which ``is_void`` returns True; return their number."""


class ClipStore(Store, TimeStore, Protocol):
    """Stored clips with their rows. Safe for several threads.

    Raises:
        Unavailable: from each method, if the storage cannot be used.
    """

    @property
    def blobs(self) -> Blobs:
        """The stored envelopes."""

    @property
    def owner_state(self) -> OwnerRecords:
        """Erased clips and owners' settings."""

    @property
    def version(self) -> int:
        """Number that changes, in this process, with the highest numbers accepted."""

    def page(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = 500,
    ) -> list[ClipRecord]:
        """Return clips in order of time.

        Args:
            owner: only this owner's clips, if given.
            span: first time (inclusive) and last time (exclusive), as in envelope headers.
            device: only this device's clips, if given.
            after: ``<t>/<clip>`` of the clip before the first one.
            limit: largest number of clips.
        """

    def page_with_mac_check(
        self,
        owner: str | None,
        span: tuple[str, str],
        *,
        device: str | None = None,
        after: str = "",
        limit: int = 500,
    ) -> list[tuple[ClipRecord, bool]]:
        """Return clips as ``page`` does, each with True if its row has a valid MAC."""

    def row(self, clip: str) -> tuple[str, Tombstone] | None:
        """Return a clip's owner and tombstone, by its row."""

    def newest(self, owner: str, device: str) -> str | None:
        """Return the id of an owner's newest clip from a device, by its row."""

    def clips_without_blob(self, owner: str) -> Iterator[str]:
        """Yield the ids of an owner's rows whose envelope ``blobs.ids`` does not yield."""

    def find_holders(self, clip: str, owners: Iterable[str]) -> Iterator[str]:
        """Yield the owners, of those given, under whom an envelope of this id is stored."""

    def highest_seq(self, dkey: str) -> int:
        """Return the highest number accepted of a device's key, erased clips included; or 0."""

    def highest_seqs(self, dkeys: Sequence[str]) -> dict[str, int]:
        """Return ``highest_seq`` of each device key of which a number was accepted."""

    def changed_numbers(self) -> dict[str, int] | None:
        """Return and forget the highest numbers that have changed, by device key.

        Returns:
            None if those of any key may have changed.
        """

    def has_sealed(self, owner: str, device: str) -> bool:
        """Return True if a verified clip of an owner came from a device, erased or not."""

    def refresh_row(self, envelope: Envelope, data: bytes) -> ClipRecord:
        """Replace a clip's row by one from its verified envelope; return the row.

        Raises:
            Replayed: another row has its sequence number; the next repair resolves this.
        """

    def refuse_span(
        self, owner: str, span: tuple[str, str], device: str | None, now: ArchiveTime
    ) -> None:
        """Refuse an owner's clips that were made before now; see ``OwnerState.refuse_span``."""

    def erase(self, owner: str, tombstones: Iterable[Tombstone]) -> None:
        """Erase clips durably: after a crash in between, the next repair completes it."""

    def erase_quarantined(
        self, owner: str, is_selected: Callable[[QuarantinedFile], bool]
    ) -> list[ErasedFile]:
        """Erase an owner's envelopes in the quarantine; return them.

        Args:
            owner: name of the owner; what a header of another owner names is never erased.
            is_selected: returns True for those to erase.
        """

    def quarantine_file(self, owner: str, clip: str) -> bool:
        """Move an envelope that does not verify to the quarantine, unless a row names it.

        Returns:
            False if it has a row, or cannot be read or moved.
        """

    def count_quarantined(self, owner: str | None = None) -> int:
        """Return the number of envelopes in the quarantine, or of an owner's."""


class LogChain(Protocol):
    """The access log. Safe for several threads and processes.

    Raises:
        Unavailable: from each method, if it cannot be used.
    """

    def append(self, entry: LogEntry) -> LogHead:
        """Append a row, durably; return the new head of the chain of the entry's owner."""

    def head(self, owner: str | None = None) -> LogHead:
        """Return number and hash of the last row.

        Args:
            owner: the head of the chain that contains this owner's rows; None for the head that is
                published, which covers all rows.
        """

    def hash_at(self, n: int, owner: str | None = None) -> str | None:
        """Return the hash of row ``n``; ``ORIGIN`` for 0, None where there is no such row.

        Args:
            n: number of the row.
            owner: as in ``head``.
        """

    def page(self, owner: str, after: int, limit: int) -> list[dict[str, Any]]:
        """Return rows of an owner's chain as JSON objects, with the bodies that concern them.

        Args:
            owner: the owner whose bodies are included, the others as hashes.
            after: number of the row before the first.
            limit: upper limit of the number of rows.
        """
