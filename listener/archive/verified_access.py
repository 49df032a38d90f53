"""The door: no envelope leaves the archive, and none is erased for an owner, but through here.

What the index says is a hint where to look. Whose a clip is, the envelope itself says: signature,
hash, her name and one of her keys. Nothing here can decrypt.

What an owner is told to have. The index is asked, and not believed.

A row that vouches for itself says what its file said when it was verified. For any other row the
file is verified now: what is hers is shown as the file has it, what is not is shown to nobody.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from listener.archive.files import list_clips, read_envelope_file
from listener.archive.owner_state import Tombstone, make_tombstone
from listener.archive.records import ClipRecord, Replayed
from listener.archive.store import FileStore
from listener.envelope.format import Envelope
from listener.envelope.verify import verify
from listener.errors import BadEnvelope, EarmarkError, Unavailable
from listener.owner.roster import Roster
from listener.rights.requests import ListRequest, time_span


class WrongOwner(EarmarkError):
    """What lies there does not verify as the requester's: hand nothing out, tell both owners.

    Attributes:
        other: whose it is, where that can be said.
        clips: under which ids it lies, the first of them where there are many.
    """

    def __init__(self, why: str, other: str | None = None, clips: tuple[str, ...] = ()) -> None:
        super().__init__(f"what lies in the archive does not verify as hers: {why}")
        self.other = other
        self.clips = clips


class ClipNotFound(EarmarkError):
    """There is no such clip of hers."""


@dataclass(frozen=True, slots=True)
class VerifiedEnvelope:
    """An envelope that verified as the requester's, just now."""

    envelope: Envelope
    data: bytes
    sha256: str

    @property
    def tombstone(self) -> Tombstone:
        """What remains when it is erased."""
        return make_tombstone(self.envelope, self.sha256)


class VerifiedReader:
    """Look at what lies in the archive, and let through what is hers.

    Args:
        store: where the files are.
        roster: returns the household's roster as it is now.
    """

    def __init__(self, store: FileStore, roster: Callable[[], Roster]) -> None:
        self._store = store
        self._roster = roster

    def fetch(self, owner: str, clip: str) -> VerifiedEnvelope:
        """Return a clip of an owner, verified.

        Raises:
            NotHers: what lies under this id is not hers, here or in another's folder.
            Missing: nothing lies there, or it was erased.
            Unavailable: the disk does not give it back.
        """
        if self._store.orders.is_erased(clip):
            raise ClipNotFound("this clip was erased")
        data = self._read(owner, clip)
        if data is None:
            others = (other.name for other in self._roster().owners if other.name != owner)
            data = next(filter(None, (self._read(other, clip) for other in others)), None)
        if data is None:
            raise ClipNotFound("there is no such clip of hers")
        return self._verify(owner, clip, data)

    def candidates(self, owner: str) -> Iterator[str]:
        """Yield every id that may be hers: what lies in her folder, and what the index says."""
        folder = self._store.path(owner, "x").parent
        yield from list_clips(folder)
        for kept in self._store.clips(owner):
            if not os.path.lexists(self._store.path(owner, kept.clip)):
                yield kept.clip

    def _verify(self, owner: str, clip: str, data: bytes) -> VerifiedEnvelope:
        roster = self._roster()
        devices, owners = roster.device_keys(), roster.owner_keys()
        try:
            envelope = verify(data, devices, {owner: owners.get(owner, ())})
        except BadEnvelope as error:
            try:
                other = verify(data, devices, owners).header.owner
            except BadEnvelope:
                raise WrongOwner(str(error), None, (clip,)) from error
            raise WrongOwner("it is another owner's", other, (clip,)) from error
        if envelope.header.clip != clip:
            raise WrongOwner("it lies under another clip's id", None, (clip,))
        return VerifiedEnvelope(envelope, data, hashlib.sha256(data).hexdigest())

    def _read(self, owner: str, clip: str) -> bytes | None:
        try:
            return read_envelope_file(self._store.path(owner, clip))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"the disk does not give a clip back: {error}") from error


@dataclass(frozen=True, slots=True)
class ClipFinder:
    """Find an owner's clips.

    Args:
        store: the index.
        door: verifies a file.
    """

    store: FileStore
    door: VerifiedReader

    def find(
        self, owner: str, request: ListRequest
    ) -> tuple[list[ClipRecord], Counter[str | None]]:
        """Return what is hers, in order; and whose the rows were that said the same and lied.

        One more than ``asked.limit`` is returned where there are more.

        Raises:
            Unavailable: the disk or the index cannot be used.
        """
        shown: list[ClipRecord] = []
        foreign: Counter[str | None] = Counter()
        after = request.after or ""
        most = request.limit + 1
        # Page after page, so that rows which are left out neither end a list nor name its next.
        while len(shown) < most and (page := self._page(owner, request, after, most)):
            for kept, is_vouched in page:
                if len(shown) == most:
                    break  # what lies behind is the next page's
                try:
                    true = kept if is_vouched else self._read_row(owner, kept)
                except (ClipNotFound, Replayed):
                    continue
                except WrongOwner as error:
                    foreign[error.other] += 1
                else:
                    if self._matches_request(true, request):
                        shown.append(true)
            after = f"{page[-1][0].t}/{page[-1][0].clip}"
        return shown[:most], foreign

    def _page(
        self, owner: str, request: ListRequest, after: str, limit: int
    ) -> list[tuple[ClipRecord, bool]]:
        return self.store.page_with_mac_check(
            owner, time_span(request), device=request.device, after=after, limit=limit
        )

    def _read_row(self, owner: str, row: ClipRecord) -> ClipRecord:
        passed = self.door.fetch(owner, row.clip)
        return self.store.refresh_row(passed.envelope, passed.data)

    def _matches_request(self, kept: ClipRecord, request: ListRequest) -> bool:
        first, last = time_span(request)
        return first <= kept.t < last and request.device in {None, kept.device}
