"""Verified access: the only way by which a clip leaves the archive or is erased for an owner.

The index only says where to look. A file is handed out after its envelope verified as the
requester's: signature, hash, owner's name and one of the owner's keys. A list row is returned as it
is if its MAC is valid (decision 0033); otherwise its file is verified, and the row is rewritten
from it or left out. Nothing here can decrypt.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from listener.archive.blobs import UnreadableBlob
from listener.archive.owner_state import Tombstone, make_tombstone
from listener.archive.records import ClipRecord, Replayed
from listener.archive.storage_interfaces import ClipStore
from listener.envelope.format import Envelope
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, EarmarkError
from listener.owner.roster import Roster
from listener.rights.requests import ListRequest, time_span


class WrongOwner(EarmarkError):
    """A stored file does not verify as the requester's: send nothing, log it for both owners.

    Attributes:
        other: the owner it verifies as, if any.
        clips: ids of the files concerned; the first ones if there are many.
    """

    def __init__(self, reason: str, other: str | None = None, clips: tuple[str, ...] = ()) -> None:
        super().__init__(f"a stored file does not verify as yours: {reason}")
        self.other = other
        self.clips = clips


class ClipNotFound(EarmarkError):
    """The owner has no clip with this id: it is unknown, erased, or another owner's.

    Attributes:
        other: the owner who has a clip with this id, if any; for the log, not for the requester.
    """

    def __init__(self, other: str | None = None) -> None:
        # One message for all: it must not show which ids other owners have or had.
        super().__init__("you have no clip with this id")
        self.other = other


@dataclass(frozen=True, slots=True)
class VerifiedEnvelope:
    """An envelope that verified as the requester's when it was read."""

    envelope: Envelope
    data: bytes
    sha256: str
    """Hexadecimal digest of ``data``."""

    @property
    def tombstone(self) -> Tombstone:
        """The tombstone to write if it is erased."""
        return make_tombstone(self.envelope, self.sha256)


class VerifiedReader:
    """Reader of stored envelopes that verifies each as the requester's. Safe for several threads.

    Args:
        store: the stored clips.
        roster: returns the household's current roster.
    """

    def __init__(self, store: ClipStore, roster: Callable[[], Roster]) -> None:
        self._store = store
        self._roster = roster

    def fetch(self, owner: str, clip: str) -> VerifiedEnvelope:
        """Read a clip of an owner and verify it.

        Raises:
            WrongOwner: the file in the owner's folder, or that of the owner's row, does not verify
                or is itself not readable.
            ClipNotFound: there is no such file, it was erased, or it is another owner's.
            Unavailable: no file can be read now.
        """
        if self._store.owner_state.is_erased(clip):
            raise ClipNotFound
        data = self._read(owner, clip)
        if data is not None:
            return self._verify(owner, clip, data)
        others = (other.name for other in self._roster().owners if other.name != owner)
        for other_name in self._store.find_holders(clip, others):
            row = self._store.row(clip)
            if row is None or row[0] != owner:
                raise ClipNotFound(other_name)
            # The owner's index row names a file in another folder: the archive mixed them up.
            if (data := self._read(other_name, clip)) is not None:
                return self._verify(owner, clip, data)
        raise ClipNotFound

    def candidates(self, owner: str) -> Iterator[str]:
        """Yield the ids of all files of an owner, then of rows without a file."""
        yield from self._store.blobs.ids(owner)
        yield from self._store.clips_without_blob(owner)

    def _verify(self, owner: str, clip: str, data: bytes) -> VerifiedEnvelope:
        roster = self._roster()
        devices, owners = roster.stored_device_keys(), roster.owner_keys()
        try:
            envelope = verify(data, devices, {owner: owners.get(owner, ())})
        except BadEnvelope as error:
            try:
                other = verify(data, devices, owners).header.owner
            except BadEnvelope:
                raise WrongOwner(str(error), None, (clip,)) from error
            raise WrongOwner("it is another owner's", other, (clip,)) from error
        if envelope.header.clip != clip:
            raise WrongOwner("its header names another clip", None, (clip,))
        return VerifiedEnvelope(envelope, data, hashlib.sha256(data).hexdigest())

    def _read(self, owner: str, clip: str) -> bytes | None:
        try:
            return self._store.blobs.get(owner, clip)
        except UnreadableBlob as error:
            # One damaged file must not deny an owner the others.
            raise WrongOwner("it cannot be read", None, (clip,)) from error


@dataclass(frozen=True, slots=True)
class ClipFinder:
    """Search for an owner's clips in the index.

    Args:
        store: the index.
        reader: verifies files.
    """

    store: ClipStore
    reader: VerifiedReader

    def find(
        self, owner: str, request: ListRequest
    ) -> tuple[list[ClipRecord], Counter[str | None]]:
        """Return the owner's clips in order of time, and the number of others' rows by owner.

        At most ``request.limit`` + 1 clips are returned; the last one shows that there are more.

        Raises:
            Unavailable: the disk or the index cannot be used.
        """
        clips: list[ClipRecord] = []
        foreign: Counter[str | None] = Counter()
        after = request.after or ""
        most = request.limit + 1
        # Page after page, so that rows which are left out neither end a list nor name its next.
        while len(clips) < most and (page := self._page(owner, request, after, most)):
            for row, has_valid_mac in page:
                if len(clips) == most:
                    break  # the rest belongs to the next page
                try:
                    record = row if has_valid_mac else self._refresh(owner, row)
                except (ClipNotFound, Replayed):
                    continue
                except WrongOwner as error:
                    foreign[error.other] += 1
                else:
                    if self._matches_request(record, request):
                        clips.append(record)
            after = f"{page[-1][0].t}/{page[-1][0].clip}"
        return clips[:most], foreign

    def _page(
        self, owner: str, request: ListRequest, after: str, limit: int
    ) -> list[tuple[ClipRecord, bool]]:
        return self.store.page_with_mac_check(
            owner, time_span(request), device=request.device, after=after, limit=limit
        )

    def _refresh(self, owner: str, row: ClipRecord) -> ClipRecord:
        verified = self.reader.fetch(owner, row.clip)
        return self.store.refresh_row(verified.envelope, verified.data)

    def _matches_request(self, record: ClipRecord, request: ListRequest) -> bool:
        first, last = time_span(request)
        return first <= record.t < last and request.device in {None, record.device}
