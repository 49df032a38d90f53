"""The archive's shared context: clips, access log, roster, and the key that signs receipts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.archive_clock import ArchiveClock
from listener.archive.challenges import RequestChallenge
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.erased_clips import ErasedClips
from listener.archive.log_budget import LogBudget
from listener.archive.storage_interfaces import ClipStore, LogChain
from listener.archive.voice_consents import VoiceStatuses
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.errors import Unavailable
from listener.owner.roster import Roster
from listener.rights.hash_chain import LogHead, Outcome
from listener.rights.receipts import Receipt, SignedHead, sign, sign_contents
from listener.storage.access_log import LogEntry
from listener.storage.home import Home


@dataclass(frozen=True, slots=True)
class ArchiveContext:
    """One archive and its parts. Safe for several threads."""

    home: Home
    store: ClipStore
    log: LogChain
    roster: Callable[[], Roster]
    """Returns the household's current roster."""
    key: Ed25519PrivateKey
    """Signs receipts and log heads; decrypts nothing."""
    wall_s: Callable[[], float] = time.time
    """Seconds since 1970."""
    clock: ArchiveClock | None = None
    """Elapsed time; None where nothing expires, as in tests of other parts."""
    erased_clips: ErasedClips = field(default_factory=ErasedClips)
    """Erased clips that are still to be published to their devices."""
    voice_statuses: VoiceStatuses = field(default_factory=VoiceStatuses)
    """The last signed status of voice control of each owner and speaker."""
    budget: LogBudget = field(default_factory=LogBudget)
    """Rows of the access log within the current hour."""

    @property
    def name(self) -> str:
        """The archive's public key as text, ``ed25519:…``."""
        return keys.device_text(self.key.public_key())

    def time(self) -> ArchiveTime:
        """Return the present moment by each measure of the archive."""
        if self.clock is not None:
            return self.clock.now()
        return ArchiveTime(self.wall_s(), 0.0, self.wall_s())

    def now(self) -> str:
        """Return the time in the format of envelope headers."""
        return format_timestamp(datetime.fromtimestamp(self.wall_s(), UTC))

    def head(self, owner: str | None = None) -> dict[str, Any]:
        """Return the signed head of the access log, or of the part with an owner's rows."""
        end = self.log.head(owner)
        head = SignedHead(n=end.n, hash=end.hash, t=self.now(), archive=self.name)
        return sign(head, self.key)

    def log_outcome(
        self,
        ticket: RequestChallenge,
        count: int = 0,
        *,
        outcome: Outcome = "done",
        other: str | None = None,
        op: str | None = None,
    ) -> LogHead:
        """Append the outcome of a proven request to the access log; return the new head.

        Args:
            ticket: the proven request.
            count: number of clips concerned.
            outcome: one of the words in ``docs/reference/http-api.md``.
            other: the second owner concerned, if any.
            op: name of the operation in the row, if it says more than that of the request.

        Raises:
            Unavailable: the log cannot be written.
        """
        return self.append_to_log(
            LogEntry(
                owner=ticket.owner,
                op=op or ticket.request.op,
                outcome=outcome,
                other=other,
                okey=ticket.okey,
                count=count,
                request_sha256=ticket.request_sha256,
            )
        )

    def append_to_log(self, entry: LogEntry) -> LogHead:
        """Append a row within the owner's budget (``LogBudget``); return the head of the chain.

        Raises:
            Unavailable: the log cannot be written.
        """
        self._append_held_back(self.budget.rows_due(entry.owner))
        head = None
        for row in self.budget.count(entry):
            try:
                head = self.log.append(row)
            except Unavailable:
                if row is not entry:  # the row of many requests, most of which were carried out
                    self.budget.defer(row)
                raise
        return head or self.log.head(entry.owner)

    def append_due_rows(self, *, at_end: bool = False) -> None:
        """Append the rows that the budget held back, if they are due.

        Args:
            at_end: True to append all, because the process ends.

        Raises:
            Unavailable: the log cannot be written.
        """
        self._append_held_back(self.budget.rows_due(at_end=at_end))

    def _append_held_back(self, rows: list[LogEntry]) -> None:
        for number, row in enumerate(rows):
            try:
                self.log.append(row)
            except Unavailable:
                for unwritten in rows[number:]:
                    self.budget.defer(unwritten)
                raise

    def report_foreign_request(self, ticket: RequestChallenge, owner: str, number: int = 1) -> None:
        """Enter in one owner's log that another owner named their clips in a request.

        Only the owner of the clips can read the row, and it is not written at once: the answer and
        the log show the requester nothing that an id without a clip would not show.

        Args:
            ticket: the proven request of the other owner.
            owner: the owner of the clips.
            number: number of clips.
        """
        self.budget.defer(
            LogEntry(
                owner=owner,
                op=ticket.request.op,
                outcome="not-hers",
                other=ticket.owner,
                count=number,
                is_hidden_from_other=True,
            )
        )

    def receipt(  # noqa: PLR0913 - a receipt has all of these fields, given by name
        self,
        kind: Literal["erase", "export"],
        ticket: RequestChallenge,
        head: LogHead,
        *,
        count: int,
        clips: tuple[str, ...] = (),
        manifest_sha256: str | None = None,
    ) -> dict[str, Any]:
        """Return a signed receipt of an erasure or an export."""
        state = self._state(kind, ticket, head, count)
        return sign(
            msgspec.structs.replace(state, clips=clips, manifest_sha256=manifest_sha256), self.key
        )

    def _state(
        self, kind: Literal["erase", "export"], ticket: RequestChallenge, head: LogHead, count: int
    ) -> Receipt:
        return Receipt(
            kind=kind,
            owner=ticket.owner,
            t=self.now(),
            request_sha256=ticket.request_sha256,
            count=count,
            head=head,
            archive=self.name,
        )

    def export_receipt(
        self, ticket: RequestChallenge, head: LogHead, *, count: int, files: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return ``receipt.json`` of an export: its receipt, and the signed list of its files.

        Args:
            ticket: the proven request.
            head: head of the log after the request's row.
            count: number of clips.
            files: SHA-256 in hex by name; see ``receipts.ExportContents``.
        """
        state = self._state("export", ticket, head, count)
        receipt = msgspec.structs.replace(state, manifest_sha256=files["manifest.jsonl"])
        return sign(receipt, self.key) | sign_contents(receipt, files, self.key)
