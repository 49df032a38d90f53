"""What an owner is told to have. The index is asked, and not believed.

A row that vouches for itself says what its file said when it was verified. For any other row the
file is verified now: what is hers is shown as the file has it, what is not is shown to nobody.
"""

from collections import Counter
from dataclasses import dataclass

from listener.archive.door import ClipNotFound, VerifiedReader, WrongOwner
from listener.archive.keeping import Replayed
from listener.archive.store import FileStore
from listener.archive.vouching import ClipRecord
from listener.rights.requests import ListRequest, time_span


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
