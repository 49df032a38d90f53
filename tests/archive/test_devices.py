"""Clips of a device that was removed or replaced, and the bounds of its key."""

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.archive.devices import AcceptedNumbers, RetiredKeys
from listener.archive.elapsed_time import ArchiveTime
from listener.archive.receiver import Receiver, Refusal
from listener.archive.store import FileStore
from listener.envelope import keys
from listener.mqtt import sequence, topics
from listener.mqtt.client import Message
from tests.archive.tampering import delete_rows

if TYPE_CHECKING:
    from listener.envelope.format import PublicHeader
    from tests.archive.conftest import ClipFactory, OwnerClient
    from tests.conftest import Household

NOON_S = 1_795_348_800


def remove_hall(household: "Household") -> None:
    household.home.change_roster(lambda roster: roster.without_device("hall", NOON_S))


def replace_hall(household: "Household") -> Ed25519PrivateKey:
    """Remove the device hall and add one of this name with another key; return its key."""
    key = Ed25519PrivateKey.generate()
    remove_hall(household)
    text = keys.device_text(key.public_key())
    household.home.change_roster(lambda roster: roster.with_device("hall", text))
    return key


def set_bounds(household: "Household", store: FileStore) -> None:
    RetiredKeys(household.home, store, lambda: 0).set_bounds(household.home.roster())


def message_of(header: "PublicHeader", data: bytes) -> Message:
    topic = topics.CLIP.name(owner=header.owner, device=header.device, clip=header.clip)
    return Message(topic, data, 1, retain=False)


def exported(ada: "OwnerClient") -> dict[str, bytes]:
    reply = ada.request("export")
    assert reply.status_code == 200, reply.text
    with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def clips_in(entries: dict[str, bytes]) -> set[str]:
    return {Path(name).stem for name in entries if name.startswith("clips/")}


def test_clips_of_a_removed_device_are_listed_played_and_exported(
    ada: "OwnerClient", household: "Household", clip_factory: "ClipFactory", store: FileStore
) -> None:
    headers = [clip_factory.put() for _ in range(3)]
    remove_hall(household)
    set_bounds(household, store)

    entries = exported(ada)

    assert len(ada.request("list").json()["clips"]) == 3
    assert ada.request("play", clip=headers[0].clip).status_code == 200
    assert clips_in(entries) == {header.clip for header in headers}
    assert json.loads(entries["devices.json"]) == {}
    (retired,) = json.loads(entries["retired-devices.json"])
    text = keys.device_text(household.device_key.public_key())
    assert retired == {"name": "hall", "key": text, "retired": NOON_S, "last_seq": 3}
    assert ada.request("keys").json()["retired_devices"] == [retired]
    assert not [row for row in ada.log_rows() if row["outcome"] == "not-hers"]


def test_replaced_device_has_the_clips_of_both_keys(
    ada: "OwnerClient",
    household: "Household",
    clip_factory: "ClipFactory",
    receiver: Receiver,
) -> None:
    old = clip_factory.put()
    key = replace_hall(household)
    header = household.header(1, dkey=keys.device_id(key.public_key()))
    answer = receiver.receive(message_of(header, household.seal(header, key=key)))

    entries = exported(ada)

    assert answer is not None
    assert receiver.stored == 1
    assert clips_in(entries) == {old.clip, header.clip}
    assert json.loads(entries["devices.json"]) == {"hall": keys.device_text(key.public_key())}
    assert len(json.loads(entries["retired-devices.json"])) == 1


def test_export_without_clips_of_a_retired_key_has_the_earlier_form(
    ada: "OwnerClient", household: "Household", clip_factory: "ClipFactory"
) -> None:
    clip = clip_factory.put().clip
    replace_hall(household)
    ada.request("erase", clips=[clip])

    assert exported(ada).keys() == {
        *("READ-ME-FIRST.html", "manifest.jsonl", "devices.json"),
        *("access-log.jsonl", "receipt.json"),
    }


def test_nothing_new_is_accepted_of_a_retired_key(
    household: "Household", receiver: Receiver, store: FileStore
) -> None:
    header = household.header(1)
    assert receiver.receive(message_of(header, household.seal(header))) is not None
    remove_hall(household)
    later = household.header(2)

    answer = receiver.receive(message_of(later, household.seal(later)))

    assert answer is not None
    assert answer.payload.startswith(b"waiting:device:")
    assert receiver.refused == {Refusal.DEVICE: 1}
    assert [clip.clip for clip in store.clips()] == [header.clip]


@pytest.mark.parametrize("is_removed", [True, False])
def test_repair_indexes_files_of_a_removed_device(
    household: "Household",
    clip_factory: "ClipFactory",
    receiver: Receiver,
    store: FileStore,
    folder: Path,
    *,
    is_removed: bool,
) -> None:
    clips = {clip_factory.put().clip for _ in range(2)}
    (remove_hall if is_removed else replace_hall)(household)
    delete_rows(store)

    assert store.repair(receiver.verify_stored) == 2

    assert {clip.clip for clip in store.clips()} == clips
    assert not (folder / "quarantine").exists()


def test_file_above_the_last_number_of_a_retired_key_is_not_indexed(
    household: "Household", clip_factory: "ClipFactory", receiver: Receiver, store: FileStore
) -> None:
    clip_factory.put()
    remove_hall(household)
    set_bounds(household, store)
    forged = household.header(2)
    store.path("ada", forged.clip).write_bytes(household.seal(forged))

    assert store.repair(receiver.verify_stored) == 0


def test_quarantined_clip_returns_when_its_devices_key_is_added(
    household: "Household",
    clip_factory: "ClipFactory",
    receiver: Receiver,
    store: FileStore,
    folder: Path,
) -> None:
    clips = {clip_factory.put().clip for _ in range(2)}
    text = keys.device_text(household.device_key.public_key())
    remove_hall(household)
    before = household.home.roster()
    # As an earlier version left it: the key is not in the roster any more.
    household.home.change_roster(lambda roster: type(roster)(owners=roster.owners))
    delete_rows(store)
    assert store.repair(receiver.verify_stored) == 0
    assert len(list((folder / "quarantine").rglob("*.earmark"))) == 2
    household.home.change_roster(lambda roster: roster.with_retired_key("hall", text, NOON_S))

    assert store.repair(receiver.verify_stored) == 2

    assert household.home.roster().retired_devices == before.retired_devices
    assert {clip.clip for clip in store.clips()} == clips
    assert store.repair(receiver.verify_stored) == 0


def test_quarantined_clip_that_was_erased_does_not_return(
    clip_factory: "ClipFactory", receiver: Receiver, store: FileStore, folder: Path
) -> None:
    header = clip_factory.put()
    place = folder / "quarantine" / f"{header.clip}.earmark"
    place.parent.mkdir()
    clip_factory.path(header).rename(place)
    delete_rows(store)
    store.owner_state.refuse_span(
        "ada", ("", "A"), None, {header.dkey: header.seq}, ArchiveTime(NOON_S, 0.0, NOON_S)
    )

    assert store.repair(receiver.verify_stored) == 0

    assert not clip_factory.path(header).exists()
    assert not list(store.clips())


def test_bound_counts_erased_clips(
    ada: "OwnerClient", household: "Household", clip_factory: "ClipFactory", store: FileStore
) -> None:
    clip_factory.put()
    last = clip_factory.put().clip
    ada.request("erase", clips=[last])
    remove_hall(household)

    set_bounds(household, store)

    assert [one.last_seq for one in household.home.roster().retired_devices] == [2]


def test_roster_that_cannot_be_written_is_logged_once(
    household: "Household",
    store: FileStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    remove_hall(household)
    roster = household.home.roster()
    retired = RetiredKeys(household.home, store, lambda: 0)
    (household.home.path / "roster.json").write_bytes(b"{}x")

    retired.set_bounds(roster)
    retired.set_bounds(roster)

    assert caplog.text.count("cannot write the last number of a removed device") == 1


def stated(numbers: AcceptedNumbers, household: "Household") -> dict[str, int]:
    public = household.home.archive_key().public_key()

    def verify(signature: bytes, data: bytes) -> bool:
        public.verify(signature, data)
        return True

    found = {}
    for message in numbers.pending_messages():
        assert (message.qos, message.retain) == (1, True)
        accepted = sequence.parse(message.payload, verify)
        assert accepted is not None
        assert message.topic == f"earmark/v1/sequence/{accepted.device}"
        found[accepted.dkey] = accepted.seq
    return found


def test_highest_number_is_stated_when_it_changes(
    ada: "OwnerClient", household: "Household", clip_factory: "ClipFactory", store: FileStore
) -> None:
    dkey = keys.device_id(household.device_key.public_key())
    sign = household.home.archive_key().sign
    numbers = AcceptedNumbers(store, household.home.roster, sign)

    assert stated(numbers, household) == {}
    last = [clip_factory.put().clip for _ in range(3)][-1]
    assert stated(numbers, household) == {dkey: 3}
    assert stated(numbers, household) == {}
    ada.request("erase", clips=[last])
    numbers.reset()
    assert stated(numbers, household) == {dkey: 3}, "an erased number was used, too"
    replace_hall(household)
    assert stated(numbers, household) == {}, "nothing was accepted of the new key"


def test_bound_waits_until_every_process_has_the_roster(
    household: "Household", store: FileStore, clip_factory: "ClipFactory"
) -> None:
    clip_factory.put()
    remove_hall(household)
    roster = household.home.roster()
    now_s = [0.0]
    retired = RetiredKeys(
        household.home, store, lambda: 0, delay_s=60.0, monotonic_s=lambda: now_s[0]
    )

    for now_s[0] in (0.0, 59.0):
        retired.set_bounds(roster)
        assert [one.last_seq for one in household.home.roster().retired_devices] == [None]
    now_s[0] = 60.0
    retired.set_bounds(roster)

    assert [one.last_seq for one in household.home.roster().retired_devices] == [1]
