"""Erasure of an owner's clips, in every place that ``storage.locations`` lists.

A file that verifies as another owner's is never erased, nor one whose header names another owner.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from listener.archive.challenges import RequestChallenge
from listener.archive.context import ArchiveContext
from listener.archive.erased_clips import ErasedClip
from listener.archive.owner_state import Tombstone
from listener.archive.quarantine import QuarantinedFile
from listener.archive.verified_access import ClipNotFound, VerifiedReader, WrongOwner
from listener.errors import Unavailable
from listener.rights import requests
from listener.rights.requests import EraseRequest
from listener.storage.wrong_attributions import WrongAttributions

_BATCH: Final = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Carries out erase requests.

    Args:
        context: the archive.
        reader: verifies whose a clip is.
        wrong_attributions: counts of clips that were another person's.
    """

    context: ArchiveContext
    reader: VerifiedReader
    wrong_attributions: WrongAttributions

    def erase(self, ticket: RequestChallenge, request: EraseRequest) -> dict[str, Any]:
        """Erase the selected clips; return a signed receipt with their ids.

        Raises:
            Unavailable: the disk or the index cannot be used; clips erased before stay erased.
        """
        owner = ticket.owner
        if request.clips is None:
            # First: clips that arrive from now on are refused, and those that arrived before are
            # selected below.
            self.context.store.refuse_span(
                owner, requests.time_span(request), request.device, self.context.time()
            )
        foreign: Counter[str | None] = Counter()
        named: Counter[str] = Counter()
        erased: list[str] = []
        signers: Counter[str] = Counter()
        batch: list[Tombstone] = []
        for clip in self._select(owner, request):
            try:
                if (tombstone := self._tombstone(owner, clip)) is not None:
                    batch.append(tombstone)
                    signers[tombstone.dkey] += 1
            except ClipNotFound as error:
                if error.other is not None:
                    named[error.other] += 1
            except WrongOwner as error:
                foreign[error.other] += 1
            if len(batch) == _BATCH:
                erased += self._erase_batch(owner, batch)
        erased += self._erase_batch(owner, batch)
        self._count_wrong_attributions(request, signers)
        # Last: a clip that is stored is erased by its own, verified header.
        quarantined = self._erase_quarantined(owner, request)
        erased = list(dict.fromkeys(erased + quarantined))
        for other, number in foreign.items():
            self.context.log_outcome(ticket, number, outcome="not-hers", other=other)
        head = self.context.log_outcome(ticket, len(erased))
        for other, number in named.items():
            self.context.report_foreign_request(ticket, other, number)
        return self.context.receipt("erase", ticket, head, count=len(erased), clips=tuple(erased))

    def _count_wrong_attributions(self, request: EraseRequest, signers: Mapping[str, int]) -> None:
        """Add to the counts of each speaker; the owner and the clips are in none of them.

        Args:
            request: counts only if its clips were another person's.
            signers: number of erased clips by the fingerprint of the speaker's key.
        """
        if not request.not_mine:
            return
        roster = self.context.roster()
        names = {one.dkey: one.name for one in roster.retired_devices}
        names |= {one.dkey: one.name for one in roster.devices}
        counts: Counter[str] = Counter()
        for dkey, number in signers.items():
            if dkey in names:
                counts[names[dkey]] += number
        try:
            self.wrong_attributions.add(counts)
        except Unavailable as error:  # the clips are erased, and the receipt must say so
            _log.warning("a wrong attribution was not counted: %s", error)

    def _select(self, owner: str, request: EraseRequest) -> list[str]:
        if request.clips is not None:
            return list(dict.fromkeys(request.clips))
        if request.all and request.device is None:
            return list(self.reader.candidates(owner))
        selected: list[str] = []
        after = ""
        span = requests.time_span(request)
        while page := self.context.store.page(owner, span, device=request.device, after=after):
            selected += [record.clip for record in page]
            after = f"{page[-1].t}/{page[-1].clip}"
        return selected

    def _tombstone(self, owner: str, clip: str) -> Tombstone | None:
        """Return a clip's tombstone, or None if the owner has no such clip.

        Raises:
            ClipNotFound: another owner has it.
            WrongOwner: it does not verify as the owner's.
        """
        try:
            verified = self.reader.fetch(owner, clip)
        except ClipNotFound as error:
            row = self.context.store.row(clip)
            if error.other is not None:
                raise
        except WrongOwner as error:
            # A damaged file whose row names the owner is erased; another owner's file is not.
            row = self.context.store.row(clip)
            if (
                error.other is None
                and row is None
                # A repair would move it to the quarantine, which is erased last.
                and self.context.store.quarantine_file(owner, clip)
            ):
                return None
            if error.other is not None or row is None or row[0] != owner:
                raise
        else:
            header = verified.envelope.header
            self.context.erased_clips.append(
                ErasedClip(owner, header.device, header.clip, verified.sha256)
            )
            return verified.tombstone
        return row[1] if row is not None and row[0] == owner else None

    def _erase_quarantined(self, owner: str, request: EraseRequest) -> list[str]:
        """Erase the selected files of the quarantine by their unverified headers."""
        chosen = None if request.clips is None else set(request.clips)
        span = requests.time_span(request)

        def is_selected(file: QuarantinedFile) -> bool:
            if chosen is not None:
                return file.has_id(chosen)
            return file.is_within(span, request.device)

        erased = self.context.store.erase_quarantined(owner, is_selected)
        for file in erased:
            if file.device is not None:
                self.context.erased_clips.append(
                    ErasedClip(owner, file.device, file.clip, file.sha256)
                )
        return [file.clip for file in erased]

    def _erase_batch(self, owner: str, batch: list[Tombstone]) -> list[str]:
        self.context.store.erase(owner, batch)
        clips = [tombstone.clip for tombstone in batch]
        batch.clear()
        return clips
