"""The quarantine: files that do not verify are erased and expire like clips, and stay hidden."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from listener.archive.quarantine import UNKNOWN_TTL_S
from listener.archive.receiver import Receiver
from listener.archive.records import Erased
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope import keys
from listener.errors import BadEnvelope
from listener.owner.roster import Roster
from tests.archive.conftest import NOON_S, ClipFactory, OwnerClient
from tests.archive.stored_clips import T_S, T, stored_path
from tests.archive.tampering import delete_rows

if TYPE_CHECKING:
    from tests.conftest import Household

DAY_S = 86_400


def unknown(_: bytes) -> form.Envelope:
    """Verify as a household does that no longer knows the device."""
    raise BadEnvelope("unknown device")


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def quarantine_all(store: FileStore) -> None:
    """Move every clip to the quarantine: its row and its device are lost."""
    delete_rows(store)
    store.repair(unknown)


@pytest.fixture
def clips(store: FileStore, clip_factory: ClipFactory) -> list[form.PublicHeader]:
    """Three clips of ada and one of bob in the quarantine, and one of each in the archive."""
    made = [clip_factory.put(t=f"2026-11-2{day}T08:00:00.000Z") for day in (0, 1, 2)]
    made.append(clip_factory.put("bob"))
    quarantine_all(store)
    clip_factory.put()
    clip_factory.put("bob")
    return made


def test_erase_all_destroys_the_owners_quarantined_files(
    ada: OwnerClient, clips: list[form.PublicHeader], folder: Path
) -> None:
    receipt = ada.request("erase", all=True).json()["receipt"]

    assert receipt["count"] == len(receipt["clips"]) == 4
    assert {header.clip for header in clips[:3]} < set(receipt["clips"])
    assert files_in(folder / "quarantine") == [f"bob/{clips[3].clip}.earmark"]
    assert ada.log_rows()[0]["count"] == 4


def test_erase_by_range_and_by_id_destroys_exactly_the_selected_files(
    ada: OwnerClient, clips: list[form.PublicHeader], folder: Path
) -> None:
    span = {"since": "2026-11-21T00:00:00.000Z", "until": "2026-11-22T00:00:00.000Z"}
    by_range = ada.request("erase", **{"from": span["since"], "until": span["until"]}).json()

    assert by_range["receipt"]["clips"] == [clips[1].clip]
    assert len(files_in(folder / "quarantine" / "ada")) == 2

    other = ada.request("erase", clips=[clips[3].clip]).json()
    by_id = ada.request("erase", clips=[clips[0].clip]).json()

    assert (other["receipt"]["count"], by_id["receipt"]["clips"]) == (0, [clips[0].clip])
    assert files_in(folder / "quarantine" / "ada") == [f"{clips[2].clip}.earmark"]
    assert len(files_in(folder / "quarantine" / "bob")) == 1


def test_range_of_one_device_leaves_other_devices_files(
    ada: OwnerClient, clips: list[form.PublicHeader], folder: Path
) -> None:
    del clips

    assert ada.request("erase", all=True, device="bath").json()["receipt"]["count"] == 0
    assert len(files_in(folder / "quarantine" / "ada")) == 3


def test_erased_quarantined_file_is_overwritten_and_never_returns(
    ada: OwnerClient,
    clips: list[form.PublicHeader],
    store: FileStore,
    receiver: Receiver,
    clip_factory: ClipFactory,
    folder: Path,
) -> None:
    path = folder / "quarantine" / "ada" / f"{clips[0].clip}.earmark"
    data = path.read_bytes()
    link = folder.parent / "second-name"
    os.link(path, link)

    ada.request("erase", clips=[clips[0].clip])

    assert link.read_bytes() == bytes(len(data))
    with pytest.raises(Erased):
        store.keep(form.parse_envelope(data), data, int(NOON_S))
    for place in (path, clip_factory.path(clips[0])):
        place.write_bytes(data)
        store.repair(receiver.verify)
        assert not place.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"EARMARK/1\nno header\n" + bytes(500), os.urandom(300)],
    ids=["empty", "no header", "random"],
)
def test_file_without_a_header_belongs_to_its_folders_owner(
    ada: OwnerClient, store: FileStore, receiver: Receiver, folder: Path, data: bytes
) -> None:
    for name in ("junk.earmark", "0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55.earmark"):
        path = folder / "clips" / "ada" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data + name.encode())
    store.repair(receiver.verify)

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert receipt["count"] == len(receipt["clips"]) == 2
    assert files_in(folder / "quarantine") == []


def test_quarantined_copy_does_not_endanger_the_stored_clip(
    bob: OwnerClient,
    store: FileStore,
    receiver: Receiver,
    clip_factory: ClipFactory,
    household: "Household",
    folder: Path,
) -> None:
    """A forged header in bob's quarantine names ada's clip; erasing it leaves hers."""
    header = clip_factory.put()
    forged = household.seal(household.header(9, "bob", clip=header.clip), lambda _: b"fLaC")[:-1]
    path = folder / "clips" / "bob" / f"{header.clip}.earmark"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(forged)
    store.repair(receiver.verify)

    assert bob.request("erase", all=True).json()["receipt"]["count"] == 1
    store.repair(receiver.verify)

    assert clip_factory.path(header).exists()
    assert [record.clip for record in store.clips("ada")] == [header.clip]


def test_file_in_another_owners_folder_is_sorted_and_not_erased(
    ada: OwnerClient, clips: list[form.PublicHeader], store: FileStore, folder: Path
) -> None:
    bobs = folder / "quarantine" / "bob" / f"{clips[3].clip}.earmark"
    moved = folder / "quarantine" / "ada" / bobs.name
    bobs.rename(moved)

    assert ada.request("erase", all=True).json()["receipt"]["count"] == 4
    assert moved.exists()

    store.repair(unknown)
    assert bobs.exists()


def test_quarantined_files_expire_by_their_headers_and_limits(
    store: FileStore, clip_factory: ClipFactory, folder: Path
) -> None:
    short = clip_factory.put(t=T, ttl_s=DAY_S)
    long = clip_factory.put(t=T, ttl_s=300 * DAY_S)
    bobs = clip_factory.put("bob", t=T, ttl_s=300 * DAY_S)
    wrong_clock = clip_factory.put(t="1970-01-01T00:00:00.000Z", ttl_s=DAY_S)
    quarantine_all(store)
    for name in (short, long, bobs, wrong_clock):
        path = folder / "quarantine" / name.owner / f"{name.clip}.earmark"
        os.utime(path, (T_S + 60, T_S + 60))

    assert store.expire(T_S + DAY_S - 1) == 0
    assert store.expire(T_S + DAY_S) == 1
    assert store.expire(T_S + DAY_S + 60) == 1
    store.owner_state.set_retention("ada", 7)
    assert store.expire(T_S + 7 * DAY_S) == 1

    assert files_in(folder / "quarantine") == [f"bob/{bobs.clip}.earmark"]
    assert store.expire(T_S + 300 * DAY_S) == 1


def test_file_without_a_header_expires_after_its_arrival(
    store: FileStore, receiver: Receiver, folder: Path
) -> None:
    path = folder / "clips" / "ada" / "junk.earmark"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk")
    os.utime(path, (T_S, T_S))
    store.repair(receiver.verify)

    assert store.expire(T_S + UNKNOWN_TTL_S - 1) == 0
    assert store.expire(T_S + UNKNOWN_TTL_S) == 1
    assert files_in(folder / "quarantine") == []


def test_flat_quarantine_of_earlier_versions_is_sorted_by_owner(
    ada: OwnerClient, store: FileStore, clip_factory: ClipFactory, folder: Path
) -> None:
    headers = [clip_factory.put(), clip_factory.put("bob")]
    quarantine_all(store)
    for header in headers:
        path = folder / "quarantine" / header.owner / f"{header.clip}.earmark"
        path.rename(folder / "quarantine" / path.name)
    (folder / "quarantine" / "junk").write_bytes(b"junk")
    os.utime(folder / "quarantine" / "junk", (T_S, T_S))

    store.repair(unknown)

    assert files_in(folder / "quarantine") == sorted(
        ["_unknown/junk", *(f"{header.owner}/{header.clip}.earmark" for header in headers)]
    )
    assert ada.request("erase", all=True).json()["receipt"]["count"] == 1
    assert store.expire(T_S + UNKNOWN_TTL_S) == 2
    assert files_in(folder / "quarantine") == []


def test_clip_returns_when_its_device_is_known_again(
    store: FileStore, receiver: Receiver, clip_factory: ClipFactory, folder: Path
) -> None:
    header = clip_factory.put()
    quarantine_all(store)
    assert list(store.clips()) == []

    assert store.repair(receiver.verify) == 1

    assert [record.clip for record in store.clips("ada")] == [header.clip]
    assert files_in(folder / "quarantine") == []


def test_two_files_of_one_name_are_both_kept(
    store: FileStore, receiver: Receiver, folder: Path
) -> None:
    path = folder / "clips" / "ada" / "0b0f6c9e-3d0e-4c6e-9a41-2f6d3a1c7e55.earmark"
    path.parent.mkdir(parents=True)
    for data in (b"one", b"two"):
        path.write_bytes(data)
        store.repair(receiver.verify)

    kept = sorted(each.read_bytes() for each in (folder / "quarantine" / "ada").iterdir())
    assert kept == [b"one", b"two"]


def test_list_counts_quarantined_files_and_nothing_hands_them_out(
    ada: OwnerClient, bob: OwnerClient, clips: list[form.PublicHeader]
) -> None:
    reply: dict[str, Any] = ada.request("list").json()

    assert (len(reply["clips"]), reply["quarantined"]) == (1, 3)
    assert bob.request("list").json()["quarantined"] == 1
    assert ada.request("play", clip=clips[0].clip).status_code == 404
    assert clips[0].clip.encode() not in ada.request("export").content


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_foreign_kind_of_file_does_not_stop_repair(
    store: FileStore, receiver: Receiver, clip_factory: ClipFactory, folder: Path, kind: str
) -> None:
    header = clip_factory.put()
    delete_rows(store)
    odd = folder / "clips" / "ada" / "00000000-3d0e-4c6e-9a41-2f6d3a1c7e55.earmark"
    match kind:
        case "link":
            odd.symlink_to("/etc/passwd")
        case "pipe":
            os.mkfifo(odd)
        case _:
            odd.mkdir()

    assert store.repair(receiver.verify) == 1

    assert [record.clip for record in store.clips()] == [header.clip]


def test_clips_of_a_revoked_speaker_are_erased_after_the_index_was_lost(
    ada: OwnerClient,
    store: FileStore,
    receiver: Receiver,
    clip_factory: ClipFactory,
    household: "Household",
    folder: Path,
) -> None:
    """Without the device in the roster and without rows, erasure still reaches every file."""
    made = [clip_factory.put() for _ in range(3)]
    key = keys.device_text(household.device_key.public_key())

    def without_hall(roster: Roster) -> Roster:
        return Roster(owners=roster.owners)

    household.home.change_roster(without_hall)
    assert key not in json.dumps([device.key for device in household.home.roster().devices])
    delete_rows(store)
    store.repair(receiver.verify)
    assert not any(stored_path(folder, header).exists() for header in made)

    receipt = ada.request("erase", all=True).json()["receipt"]

    assert sorted(receipt["clips"]) == sorted(header.clip for header in made)
    assert list(folder.rglob("*.earmark")) == []


def test_arrival_is_kept_in_the_quarantine(
    store: FileStore, clip_factory: ClipFactory, folder: Path
) -> None:
    header = clip_factory.put()
    arrived = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    os.utime(clip_factory.path(header), (arrived, arrived))

    quarantine_all(store)

    path = folder / "quarantine" / "ada" / f"{header.clip}.earmark"
    assert path.stat().st_mtime == arrived
