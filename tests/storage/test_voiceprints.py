"""The voiceprints of a data directory: kept for hear alone, refused by name, erased."""

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pyrage
import pytest

from listener import digests
from listener.envelope import keys
from listener.owner.roster import Roster
from listener.storage.home import Home
from listener.storage.locations import SPEAKER_LOCATIONS, VOICEPRINTS, find_location
from listener.storage.voiceprints import VoiceprintStore
from listener.voiceprint.record import Voiceprint, encode_vector
from tests.conftest import introduced

MODEL = "5a" * 32


class Speaker:
    def __init__(self, path: Path) -> None:
        self.home = Home(path)
        self.key = self.home.device_key()
        self.store = VoiceprintStore(path)
        self.folder = path / VOICEPRINTS

    def add(self, name: str) -> None:
        recipient = str(pyrage.x25519.Identity.generate().to_public())
        self.home.change_roster(lambda roster: introduced(roster, name, recipient, 0))

    def make(self, name: str, **fields: object) -> Voiceprint:
        vector = np.random.default_rng(len(name)).normal(size=192).astype(np.float32)
        made = Voiceprint(
            owner=name,
            okey=self.home.roster().known_owner(name).okey,
            device=keys.device_text(self.key.public_key()),
            model=MODEL,
            vector=encode_vector(vector),
            threshold=0.5,
            sentences=10,
            speech_s=30.0,
            t="2026-01-02T03:04:05.678Z",
        )
        return msgspec.structs.replace(made, **fields)

    def enrol(self, name: str) -> Voiceprint:
        self.add(name)
        made = self.make(name)
        self.store.write(made, self.key)
        return made

    def reasons(self, roster: Roster | None = None) -> dict[str, str]:
        loaded = self.store.load(
            self.home.roster() if roster is None else roster, self.key.public_key(), MODEL
        )
        return {one.owner: one.reason for one in loaded.refused}


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    return Speaker(tmp_path / "home")


def test_voiceprints_are_loaded_by_owner(speaker: Speaker) -> None:
    made = {name: speaker.enrol(name) for name in ("bob", "ada")}

    loaded = speaker.store.load(speaker.home.roster(), speaker.key.public_key(), MODEL)

    assert list(loaded.accepted) == ["ada", "bob"]
    assert loaded.accepted == made
    assert loaded.refused == ()


def test_home_without_voiceprints_has_none(speaker: Speaker) -> None:
    loaded = speaker.store.load(speaker.home.roster(), speaker.key.public_key(), MODEL)

    assert (loaded.accepted, loaded.refused) == ({}, ())
    assert speaker.store.erase("ada") is None
    assert speaker.store.names() == ()


def test_other_users_cannot_read_a_voiceprint(speaker: Speaker) -> None:
    before = os.umask(0)
    try:
        speaker.enrol("ada")
    finally:
        os.umask(before)

    assert speaker.folder.stat().st_mode & 0o777 == 0o700
    assert (speaker.folder / "ada.json").stat().st_mode & 0o777 == 0o600


def test_swapped_files_are_both_refused(speaker: Speaker) -> None:
    speaker.enrol("ada")
    speaker.enrol("bob")
    ada, bob = (speaker.folder / f"{name}.json" for name in ("ada", "bob"))
    swapped = ada.read_bytes()
    ada.write_bytes(bob.read_bytes())
    bob.write_bytes(swapped)

    assert speaker.reasons() == {"ada": "name", "bob": "name"}


def test_copied_file_is_refused_and_the_other_counts(speaker: Speaker) -> None:
    speaker.enrol("ada")
    speaker.enrol("bob")
    (speaker.folder / "bob.json").write_bytes((speaker.folder / "ada.json").read_bytes())

    assert speaker.reasons() == {"bob": "name"}


def test_voiceprint_of_another_speaker_is_refused(speaker: Speaker, tmp_path: Path) -> None:
    speaker.enrol("ada")
    other = Speaker(tmp_path / "other")
    other.home.change_roster(lambda _: speaker.home.roster())
    other.store.write(other.make("ada"), other.key)
    (speaker.folder / "ada.json").write_bytes((other.folder / "ada.json").read_bytes())

    assert speaker.reasons() == {"ada": "device"}


def test_voiceprint_of_an_older_model_is_refused(speaker: Speaker) -> None:
    speaker.add("ada")
    speaker.store.write(speaker.make("ada", model="4b" * 32), speaker.key)

    assert speaker.reasons() == {"ada": "model"}


@pytest.mark.parametrize("content", [b"", b"\0" * 1400, b"{}\n", b"x" * (1 << 16)])
def test_corrupt_file_is_refused(speaker: Speaker, content: bytes) -> None:
    speaker.enrol("ada")
    (speaker.folder / "ada.json").write_bytes(content)

    assert speaker.reasons() == {"ada": "form"}


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_not_a_file_is_refused(speaker: Speaker, kind: str) -> None:
    speaker.enrol("ada")
    path = speaker.folder / "ada.json"
    path.rename(speaker.home.path / "kept.json")
    if kind == "link":
        path.symlink_to(speaker.home.path / "kept.json")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()

    assert speaker.reasons() == {"ada": "form"}


def test_owner_without_a_confirmed_key_is_refused(speaker: Speaker) -> None:
    speaker.enrol("ada")
    recipient = speaker.home.roster().known_owner("ada").recipient
    inactive = Roster().with_owner("ada", recipient)

    assert speaker.reasons(inactive) == {"ada": "owner"}
    assert speaker.reasons(Roster()) == {"ada": "owner"}


def test_another_person_of_the_same_name_is_refused(speaker: Speaker) -> None:
    speaker.enrol("ada")
    speaker.home.change_roster(lambda roster: roster.without_owner("ada"))
    speaker.add("ada")

    assert speaker.reasons() == {"ada": "key"}


def test_voiceprint_counts_after_a_change_of_the_owners_key(speaker: Speaker) -> None:
    speaker.enrol("ada")
    following = str(pyrage.x25519.Identity.generate().to_public())
    speaker.home.change_roster(lambda roster: roster.with_new_key("ada", following))

    assert speaker.home.roster().known_owner("ada").recipient == following
    assert speaker.reasons() == {}


def test_erased_voiceprint_leaves_no_file(speaker: Speaker) -> None:
    speaker.enrol("ada")
    speaker.enrol("bob")
    data = (speaker.folder / "ada.json").read_bytes()

    assert speaker.store.erase("ada") == digests.sha256(data).hex()
    assert [path.name for path in speaker.folder.iterdir()] == ["bob.json"]


def test_erased_and_replaced_files_are_overwritten(speaker: Speaker) -> None:
    speaker.enrol("ada")
    path = speaker.folder / "ada.json"
    with path.open("rb") as replaced:
        speaker.store.write(speaker.make("ada", sentences=11), speaker.key)
        assert set(replaced.read()) == {0}
    with path.open("rb") as erased:
        speaker.store.erase("ada")
        assert set(erased.read()) == {0}
    assert list(speaker.folder.iterdir()) == []


def test_damaged_file_is_erased_too(speaker: Speaker) -> None:
    speaker.enrol("ada")
    (speaker.folder / "ada.json").write_bytes(b"junk")
    (speaker.folder / ".ada.json.part").write_bytes(b"left by a kill")

    assert speaker.store.erase("ada") == digests.sha256(b"junk").hex()
    assert list(speaker.folder.iterdir()) == []


def test_versions_change_with_the_files(speaker: Speaker) -> None:
    seen = [speaker.store.versions()]
    speaker.enrol("ada")
    seen.append(speaker.store.versions())
    speaker.store.write(speaker.make("ada", sentences=11), speaker.key)
    seen.append(speaker.store.versions())
    speaker.store.erase("ada")

    assert len(set(seen)) == 3
    assert speaker.store.versions() == seen[0]


def test_every_file_is_on_the_list_of_places(speaker: Speaker) -> None:
    speaker.enrol("ada")
    for name in ("ada.json", ".ada.json.part", ".ada.json.old"):
        found = find_location(f"{VOICEPRINTS}/{name}", SPEAKER_LOCATIONS)
        assert found is not None
        assert found.content == "voiceprint"
    names = {path.name for path in speaker.folder.iterdir()}
    assert names == {"ada.json"}
    assert json.loads((speaker.folder / "ada.json").read_bytes())["voiceprint"]["owner"] == "ada"
