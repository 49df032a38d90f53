"""What an owner is told to have. The index is asked, and not believed.

A row that vouches for itself says what its file said when it was verified. For any other row the
file is verified now: what is hers is shown as the file has it, what is not is shown to nobody.
"""

from collections import Counter
from dataclasses import dataclass

from listener.archive.door import Door, Missing, NotHers
from listener.archive.keeping import Replayed
from listener.archive.store import FileStore
from listener.archive.vouching import Kept
from listener.rights.request import ListRequest, time_span


@dataclass(frozen=True, slots=True)
class Lister:
    """Find an owner's clips.

    Args:
        store: the index.
        door: verifies a file.
    """

    store: FileStore
    door: Door

    def find(self, owner: str, asked: ListRequest) -> tuple[list[Kept], Counter[str | None]]:
        """Return what is hers, in order; and whose the rows were that said the same and lied.

        One more than ``asked.limit`` is returned where there are more.

        Raises:
            Unavailable: the disk or the index cannot be used.
        """
        shown: list[Kept] = []
        foreign: Counter[str | None] = Counter()
        after = asked.after or ""
        most = asked.limit + 1
        # Page after page, so that rows which are left out neither end a list nor name its next.
        while len(shown) < most and (found := self._page(owner, asked, after, most)):
            for kept, is_vouched in found:
                if len(shown) == most:
                    break  # what lies behind is the next page's
                try:
                    true = kept if is_vouched else self._look(owner, kept)
                except (Missing, Replayed):
                    continue
                except NotHers as error:
                    foreign[error.other] += 1
                else:
                    if self._is_asked_for(true, asked):
                        shown.append(true)
            after = f"{found[-1][0].t}/{found[-1][0].clip}"
        return shown[:most], foreign

    def _page(self, owner: str, asked: ListRequest, after: str, limit: int) -> list[tuple[Kept, bool]]:
        return self.store.judged(owner, time_span(asked), device=asked.device, after=after, limit=limit)

    def _look(self, owner: str, row: Kept) -> Kept:
        passed = self.door.fetch(owner, row.clip)
        return self.store.renew(passed.envelope, passed.data)

    def _is_asked_for(self, kept: Kept, asked: ListRequest) -> bool:
        first, last = time_span(asked)
        return first <= kept.t < last and asked.device in {None, kept.device}
