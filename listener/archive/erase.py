"""Erase what an owner names, for good, and nothing of anybody else's whatever the index says."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from listener.archive.challenges import RequestChallenge
from listener.archive.context import ArchiveContext, ErasedClip
from listener.archive.owner_state import Tombstone
from listener.archive.verified_access import ClipNotFound, VerifiedReader, WrongOwner
from listener.rights import requests
from listener.rights.requests import EraseRequest

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Eraser:
    """Carry out erasures.

    Args:
        holdings: what they are about.
        door: says whose a clip is.
    """

    holdings: ArchiveContext
    door: VerifiedReader

    def erase(self, ticket: RequestChallenge, request: EraseRequest) -> dict[str, Any]:
        """Erase, and return a signed receipt with the ids that went.

        Raises:
            Unavailable: the disk or the index cannot be used; what went before is gone.
        """
        owner = ticket.owner
        if request.clips is None:
            # First, so that what arrives from now on is refused and what arrived before is found.
            now_s = self.holdings.wall_s()
            self.holdings.store.orders.refuse_span(
                owner, requests.time_span(request), request.device, now_s
            )
        foreign: Counter[str | None] = Counter()
        erased: list[str] = []
        batch: list[Tombstone] = []
        for clip in self._select(owner, request):
            try:
                if (stone := self._tombstone(owner, clip)) is not None:
                    batch.append(stone)
            except WrongOwner as error:
                foreign[error.other] += 1
            if len(batch) == _BATCH:
                erased += self._erase_batch(owner, batch)
        erased += self._erase_batch(owner, batch)
        for other, number in foreign.items():
            self.holdings.log_outcome(ticket, number, outcome="not-hers", other=other)
        head = self.holdings.log_outcome(ticket, len(erased))
        return self.holdings.receipt("erase", ticket, head, count=len(erased), clips=tuple(erased))

    def _select(self, owner: str, request: EraseRequest) -> list[str]:
        if request.clips is not None:
            return list(dict.fromkeys(request.clips))
        if request.all and request.device is None:
            return list(self.door.candidates(owner))
        chosen: list[str] = []
        after = ""
        span = requests.time_span(request)
        while page := self.holdings.store.page(owner, span, device=request.device, after=after):
            chosen += [one.clip for one in page]
            after = f"{page[-1].t}/{page[-1].clip}"
        return chosen

    def _tombstone(self, owner: str, clip: str) -> Tombstone | None:
        """Return a clip's, or None when there is nothing of hers to erase."""
        try:
            passed = self.door.fetch(owner, clip)
        except ClipNotFound:
            row = self.holdings.store.row(clip)
        except WrongOwner as error:
            # Damaged, and by the index hers: it goes. Verified as another's: it stays.
            row = self.holdings.store.row(clip)
            if error.other is not None or row is None or row[0] != owner:
                raise
        else:
            header = passed.envelope.header
            self.holdings.gone.append(ErasedClip(header.device, header.clip, passed.sha256))
            return passed.tombstone
        return row[1] if row is not None and row[0] == owner else None

    def _erase_batch(self, owner: str, batch: list[Tombstone]) -> list[str]:
        self.holdings.store.erase(owner, batch)
        gone = [one.clip for one in batch]
        batch.clear()
        return gone
