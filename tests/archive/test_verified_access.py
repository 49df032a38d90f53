"""The search for an owner's clips. test_api tests the responses."""

from collections import Counter
from typing import TYPE_CHECKING

from listener.archive.verified_access import ClipFinder, VerifiedReader
from listener.rights.requests import ListRequest
from tests.archive.tampering import update_rows

if TYPE_CHECKING:
    from listener.archive.store import FileStore
    from tests.archive.conftest import ClipFactory
    from tests.conftest import Household


def test_search_returns_one_more_clip_and_skips_foreign_rows(
    store: "FileStore", household: "Household", clip_factory: "ClipFactory"
) -> None:
    own = [clip_factory.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 3, 5)]
    for day in (2, 4, 6):
        clip_factory.put("bob", t=f"2026-11-2{day}T08:00:00.000Z")
    update_rows(store, "owner = 'ada'")
    finder = ClipFinder(store, VerifiedReader(store, household.home.roster))

    two, foreign = finder.find("ada", ListRequest(limit=1))
    everything, all_foreign = finder.find("ada", ListRequest())

    assert [entry.clip for entry in two] == [entry.clip for entry in own[:2]]
    assert foreign == Counter({"bob": 1})
    assert [entry.clip for entry in everything] == [entry.clip for entry in own]
    assert all_foreign == Counter({"bob": 3})
