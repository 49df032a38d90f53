import json

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.errors import ConfigError, UsageError
from listener.owner.format import ROSTER_LIMIT_BYTES, parse, render
from listener.owner.roster import Roster


def made_key() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def made_device() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


@pytest.fixture
def ada() -> Roster:
    """Ada, added and not confirmed."""
    return Roster().with_owner("ada", made_key())


names = st.text("abc-", min_size=1, max_size=5)
owner_keys = st.sampled_from([made_key() for _ in range(4)])
device_keys = st.sampled_from([made_device() for _ in range(4)])


@given(st.lists(st.tuples(names, owner_keys)), st.lists(st.tuples(names, device_keys)))
def test_any_roster_comes_back_from_its_file(
    owners: list[tuple[str, str]], devices: list[tuple[str, str]]
) -> None:
    roster = Roster()
    for add, pairs in ((Roster.with_owner, owners), (Roster.with_device, devices)):
        for name, key in pairs:
            try:
                roster = add(roster, name, key)
            except UsageError:
                continue

    assert parse(render(roster), "roster.json") == roster
    assert len({owner.recipient for owner in roster.owners}) == len(roster.owners)
    assert len({device.key for device in roster.devices}) == len(roster.devices)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        parse(data, "roster.json")


@given(st.data())
def test_a_damaged_roster_raises_one_error_or_is_one(data: st.DataObject) -> None:
    whole = render(Roster().with_owner("ada", made_key()).with_device("kitchen", made_device()))
    start = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 30))
    changed = whole[:start] + data.draw(st.binary(max_size=30)) + whole[start + cut :]

    try:
        roster = parse(changed, "roster.json")
    except ConfigError:
        return
    assert parse(render(roster), "roster.json") == roster


def test_a_file_with_a_name_or_a_key_twice_is_refused(ada: Roster) -> None:
    owner = ada.owners[0]
    device = Roster().with_device("kitchen", made_device()).devices[0]
    for twice in (
        Roster(owners=(owner, owner)),
        Roster(owners=(owner, msgspec.structs.replace(owner, name="bob"))),
        Roster(owners=(owner, msgspec.structs.replace(owner, recipient=made_key()))),
        Roster(devices=(device, msgspec.structs.replace(device, name="hall"))),
        Roster(devices=(device, msgspec.structs.replace(device, key=made_device()))),
    ):
        with pytest.raises(ConfigError, match="twice"):
            parse(render(twice), "roster.json")


def test_a_file_edited_by_hand_is_sorted(ada: Roster) -> None:
    roster = ada.with_owner("bob", made_key())
    other_way = Roster(owners=roster.owners[::-1])

    assert parse(render(other_way), "roster.json") == roster


def test_a_file_of_another_version_or_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="damaged"):
        parse(b'{"v":2}', "roster.json")
    with pytest.raises(ConfigError, match="damaged"):
        parse(b"[" * 100_000, "roster.json")
    with pytest.raises(ConfigError, match="too long"):
        parse(bytes(ROSTER_LIMIT_BYTES + 1), "roster.json")


def test_a_roster_of_before_retired_keys_is_read() -> None:
    old = made_key()
    data = json.dumps({"v": 1, "owners": [{"name": "ada", "recipient": old, "active": True}]})

    assert parse(data.encode(), "a file").owner_keys() == {"ada": (old,)}
