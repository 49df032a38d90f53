"""What a list finds. What an owner sees of it is in test_api."""

from collections import Counter
from typing import TYPE_CHECKING

from listener.archive.verified_access import ClipFinder, VerifiedReader
from listener.rights.requests import ListRequest
from tests.archive.crossing import cross

if TYPE_CHECKING:
    from listener.archive.store import FileStore
    from tests.archive.conftest import Shelf
    from tests.conftest import Household


def test_one_more_than_asked_for_says_that_there_are_more_and_foreign_rows_do_not_count(
    store: "FileStore", household: "Household", shelf: "Shelf"
) -> None:
    own = [shelf.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (1, 3, 5)]
    for day in (2, 4, 6):
        shelf.put("bob", t=f"2026-11-2{day}T08:00:00.000Z")
    cross(store, "owner = 'ada'")
    lister = ClipFinder(store, VerifiedReader(store, household.home.roster))

    two, foreign = lister.find("ada", ListRequest(limit=1))
    everything, all_foreign = lister.find("ada", ListRequest())

    assert [one.clip for one in two] == [one.clip for one in own[:2]]
    assert foreign == Counter({"bob": 1})
    assert [one.clip for one in everything] == [one.clip for one in own]
    assert all_foreign == Counter({"bob": 3})
