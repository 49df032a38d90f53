"""Key rotations that send stores, applied to the roster of hear."""

import os
from typing import TYPE_CHECKING

import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.envelope.open import Identity, parse_identities
from listener.hear.key_rotation import RosterUpdater
from listener.owner.key_rotation import KeyRotation, prove_rotation

if TYPE_CHECKING:
    from tests.conftest import Household


def identity(secret: str | None = None) -> Identity:
    text = secret or str(pyrage.x25519.Identity.generate())
    return parse_identities(text.encode(), "a test")[0]


@pytest.fixture
def following(household: "Household") -> RosterUpdater:
    return RosterUpdater(household.home, "hall", household.device_key)


def said(household: "Household", old: Identity, new: Identity, owner: str = "ada") -> bytes:
    bare = KeyRotation(owner=owner, device="hall", old=old.okey, new=new.recipient)
    public = household.device_key.public_key()
    return b"[" + prove_rotation(bare, old.agreement(), new.agreement(), public).encode() + b"]"


def lay(household: "Household", data: bytes) -> None:
    path = household.home.path / "spool" / "following.json"
    path.parent.mkdir(exist_ok=True)
    path.with_suffix(".new").write_bytes(data)
    path.with_suffix(".new").replace(path)


def test_proven_key_rotation_is_applied_and_stored(
    following: RosterUpdater, household: "Household", caplog: pytest.LogCaptureFixture
) -> None:
    old, new, last = identity(household.identities["ada"]), identity(), identity()
    assert following().known_owner("ada").recipient == old.recipient

    lay(household, said(household, old, new))
    assert following().known_owner("ada").recipient == new.recipient
    assert "the key of ada was replaced" in caplog.text
    lay(household, said(household, new, last))

    assert following().known_owner("ada").recipient == last.recipient
    assert household.home.roster().known_owner("ada").recipient == last.recipient
    assert household.home.roster().known_owner("bob").retired == ()


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"[" * 7000, b"x" * 9000])
def test_invalid_rotation_does_not_change_the_roster(
    following: RosterUpdater, household: "Household", data: bytes
) -> None:
    before = household.home.roster()

    lay(household, data)

    assert following() == before == household.home.roster()


def test_rotation_signed_by_another_owner_is_refused(
    following: RosterUpdater, household: "Household"
) -> None:
    before = household.home.roster()
    bob = identity(household.identities["bob"])

    lay(household, said(household, bob, identity(), owner="ada"))

    assert following() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_do_not_change_the_roster(
    following: RosterUpdater, household: "Household", data: bytes
) -> None:
    before = household.home.roster()

    lay(household, data)

    assert following() == before


def test_unreadable_rotation_is_logged_and_ignored(
    following: RosterUpdater, household: "Household", caplog: pytest.LogCaptureFixture
) -> None:
    (household.home.path / "spool" / "following.json").mkdir(parents=True)

    assert following() == household.home.roster()
    assert "cannot read" in caplog.text


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipe_or_link_in_place_of_the_rotation_is_ignored_without_a_wait(
    following: RosterUpdater, household: "Household", kind: str
) -> None:
    path = household.home.path / "spool" / "following.json"
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    assert following() == household.home.roster()
