"""Repair of files and index after a crash, a restored copy, or tampering."""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.owner_state import OwnerState
from listener.archive.receiver import Receiver
from listener.archive.records import RowMac
from listener.archive.store import FileStore
from listener.envelope import format as form
from tests.archive.stored_clips import T_S, store_clip, stored_path
from tests.archive.tampering import update_rows

if TYPE_CHECKING:
    from tests.conftest import Household


def test_verified_file_without_a_row_gets_one(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = household.header(1)
    path = stored_path(folder, header)
    path.parent.mkdir(parents=True)
    path.write_bytes(household.seal(header))

    assert store.repair(receiver.verify) == 1
    assert store.repair(receiver.verify) == 0

    assert [entry.clip for entry in store.clips()] == [header.clip]


def test_repair_restores_rows_with_swapped_owners(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    own, others = store_clip(store, household), store_clip(store, household, 2, owner="bob")
    update_rows(store, "owner = case owner when 'ada' then 'bob' else 'ada' end")

    assert store.repair(receiver.verify) == 2

    assert [entry.clip for entry in store.clips("ada")] == [own.clip]
    assert [entry.clip for entry in store.clips("bob")] == [others.clip]
    assert not (folder / "quarantine").exists()


def test_rows_without_valid_mac_are_confirmed_by_their_files(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = store_clip(store, household)
    received_s = next(store.clips()).received_s
    with sqlite3.connect(folder / "index.sqlite") as index:
        index.execute("alter table clip drop column code")
    index.close()
    other = FileStore(folder, OwnerState(folder.parent / "others.sqlite"), RowMac(b"another"))

    assert [has_valid_mac for _, has_valid_mac in other.page_with_mac_check("ada", ("", "A"))] == [
        False
    ]
    assert other.repair(receiver.verify) == 0

    assert [has_valid_mac for _, has_valid_mac in other.page_with_mac_check("ada", ("", "A"))] == [
        True
    ]
    assert [(entry.clip, entry.received_s) for entry in other.clips()] == [
        (header.clip, received_s)
    ]
    other.close()


@pytest.mark.parametrize("damage", ["content", "owner", "name", "empty"])
def test_file_of_another_place_goes_to_quarantine(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path, damage: str
) -> None:
    header = household.header(1)
    data = household.seal(header)
    path = stored_path(folder, header)
    match damage:
        case "content":
            data = data[:-1] + bytes([data[-1] ^ 1])
        case "owner":
            path = folder / "clips" / "bob" / path.name
        case "name":
            path = path.with_name(f"{household.header(2).clip}.earmark")
        case _:
            data = b""
    path.parent.mkdir(parents=True)
    path.write_bytes(data)

    assert store.repair(receiver.verify) == 0

    assert list(store.clips()) == []
    assert not path.exists()
    assert (folder / "quarantine" / "ada" / path.name).read_bytes() == data


def test_unfinished_files_are_deleted(store: FileStore, receiver: Receiver, folder: Path) -> None:
    part = folder / "clips" / "ada" / "x.earmark.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")

    store.repair(receiver.verify)

    assert not part.exists()


def test_missing_file_is_reported_and_restored_by_resending(
    store: FileStore,
    receiver: Receiver,
    household: "Household",
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    header = household.header(1)
    data = household.seal(header)
    store.keep(form.parse_envelope(data), data, T_S)
    stored_path(folder, header).unlink()

    store.repair(receiver.verify)
    again = store.keep(form.parse_envelope(data), data, T_S)

    assert "files of 1 archived clips are missing" in caplog.text
    assert not again
    assert stored_path(folder, header).read_bytes() == data


def test_lost_index_is_rebuilt_from_the_files(
    store: FileStore, receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = store_clip(store, household)
    store.close()
    for path in folder.glob("index.sqlite*"):
        path.unlink()

    fresh = FileStore(folder)

    assert fresh.repair(receiver.verify) == 1
    assert [entry.clip for entry in fresh.clips()] == [header.clip]
    fresh.close()
