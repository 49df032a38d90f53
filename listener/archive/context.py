"""The archive's shared context: clips, access log, roster, and the key that signs receipts."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.archive_clock import ArchiveClock
from listener.archive.challenges import RequestChallenge
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.store import FileStore
from listener.envelope import keys
from listener.envelope.format import format_timestamp
from listener.owner.roster import Roster
from listener.rights.hash_chain import LogHead, Outcome
from listener.rights.receipts import Receipt, SignedHead, sign
from listener.storage.access_log import AccessLog, LogEntry
from listener.storage.home import Home

_MOST_ERASED_CLIPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class ErasedClip:
    """An erased clip that its device's spool may still hold."""

    device: str
    clip: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ArchiveContext:
    """One archive and its parts. Safe for several threads."""

    home: Home
    store: FileStore
    log: AccessLog
    roster: Callable[[], Roster]
    """Returns the household's current roster."""
    key: Ed25519PrivateKey
    """Signs receipts and log heads; decrypts nothing."""
    wall_s: Callable[[], float] = time.time
    """Seconds since 1970."""
    clock: ArchiveClock | None = None
    """Elapsed time; None where nothing expires, as in tests of other parts."""
    erased_clips: deque[ErasedClip] = field(
        default_factory=lambda: deque(maxlen=_MOST_ERASED_CLIPS)
    )
    """Erased clips that are still to be published to their devices."""

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

    def head(self) -> dict[str, Any]:
        """Return the signed head of the access log."""
        end = self.log.head()
        head = SignedHead(n=end.n, hash=end.hash, t=self.now(), archive=self.name)
        return sign(head, self.key)

    def log_outcome(
        self,
        ticket: RequestChallenge,
        count: int = 0,
        *,
        outcome: Outcome = "done",
        other: str | None = None,
    ) -> LogHead:
        """Append the outcome of a proven request to the access log; return the new head.

        Args:
            ticket: the proven request.
            count: number of clips concerned.
            outcome: one of the words in ``docs/reference/http-api.md``.
            other: the second owner concerned, if any.

        Raises:
            Unavailable: the log cannot be written.
        """
        return self.log.append(
            LogEntry(
                owner=ticket.owner,
                op=ticket.request.op,
                outcome=outcome,
                other=other,
                okey=ticket.okey,
                count=count,
                request_sha256=ticket.request_sha256,
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
        receipt = Receipt(
            kind=kind,
            owner=ticket.owner,
            t=self.now(),
            request_sha256=ticket.request_sha256,
            clips=clips,
            count=count,
            manifest_sha256=manifest_sha256,
            head=head,
            archive=self.name,
        )
        return sign(receipt, self.key)
