import json
from functools import partial

import msgspec
import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.envelope import keys
from listener.envelope.verify import TrustedKey
from listener.errors import ConfigError, UsageError
from listener.owner import records
from listener.owner.roster import ROSTER_LIMIT_BYTES, Roster, parse, render

NOON_S = 1_800_000_000


def made_key() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def made_device() -> str:
    return keys.device_text(Ed25519PrivateKey.generate().public_key())


@pytest.fixture
def ada() -> Roster:
    """Ada, added and not confirmed."""
    return Roster().with_owner("ada", made_key())


def test_unconfirmed_owner_is_inactive(ada: Roster) -> None:
    challenged = ada.with_challenge("ada", "answer", NOON_S)

    confirmed = challenged.with_confirmation("ada", " answer\n", NOON_S + 60)

    assert ada.active_owners() == {}
    assert challenged.active_owners() == {}
    assert list(confirmed.active_owners()) == ["ada"]
    owner = confirmed.owner("ada")
    assert owner is not None
    assert owner.okey == keys.owner_id(owner.recipient)


def test_adding_an_owner_again_is_idempotent(ada: Roster) -> None:
    owner = ada.owner("ada")
    assert owner is not None

    assert ada.with_owner("ada", owner.recipient.upper()) is ada


def test_second_key_for_an_owner_is_refused(ada: Roster) -> None:
    with pytest.raises(UsageError, match="another key") as caught:
        ada.with_owner("ada", made_key())

    assert "earmark owner forget ada" in caught.value.hint


def test_two_owners_cannot_share_a_key(ada: Roster) -> None:
    owner = ada.owner("ada")
    assert owner is not None

    with pytest.raises(UsageError, match="this key is in use"):
        ada.with_owner("bob", owner.recipient)


@pytest.mark.parametrize("name", ["", "Ada", "a b", "a/b", "ada\n", "ä", "a" * 33])
def test_name_invalid_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not a valid name for"):
        Roster().with_owner(name, made_key())
    with pytest.raises(UsageError, match="not a valid name for"):
        Roster().with_device(name, made_device())


def test_removed_owner_is_absent(ada: Roster) -> None:
    assert ada.without_owner("ada") == Roster()


def test_unknown_owner_error_lists_the_known_owners(ada: Roster) -> None:
    edits = (
        partial(ada.without_owner, "bob"),
        partial(ada.with_challenge, "bob", "answer", NOON_S),
        partial(ada.with_confirmation, "bob", "answer", NOON_S),
    )
    for edit in edits:
        with pytest.raises(UsageError, match="no owner 'bob'") as caught:
            edit()
        assert caught.value.hint == "use one of: ada"


def test_device_has_a_name_and_a_key() -> None:
    key = made_device()

    roster = Roster().with_device("kitchen", key)

    assert roster.device_keys() == {"kitchen": keys.parse_device(key)}
    assert roster.devices[0].dkey == keys.device_id(keys.parse_device(key))
    assert roster.with_device("kitchen", key) is roster
    assert roster.without_device("kitchen", 0).devices == ()


def test_device_name_and_key_are_unique() -> None:
    key = made_device()
    roster = Roster().with_device("kitchen", key)

    with pytest.raises(UsageError, match="kitchen has another key"):
        roster.with_device("kitchen", made_device())
    with pytest.raises(UsageError, match="another device has this key"):
        roster.with_device("hall", key)
    with pytest.raises(UsageError, match="no device 'hall'") as caught:
        roster.without_device("hall", 0)
    assert caught.value.hint == "use one of: kitchen"


def test_removed_device_keeps_its_key_for_stored_envelopes() -> None:
    first, second = made_device(), made_device()

    removed = Roster().with_device("hall", first).without_device("hall", NOON_S)
    replaced = removed.with_device("hall", second)

    assert removed.device_keys() == {}
    assert removed.stored_device_keys() == {"hall": (TrustedKey(keys.parse_device(first)),)}
    assert replaced.device_keys() == {"hall": keys.parse_device(second)}
    assert replaced.stored_device_keys() == {
        "hall": (TrustedKey(keys.parse_device(second)), TrustedKey(keys.parse_device(first)))
    }
    assert removed.with_device("hall", first).retired_devices == ()
    (kept,) = replaced.retired_devices
    assert (kept.retired_s, kept.last_seq, kept.dkey) == (
        *(NOON_S, None, keys.device_id(keys.parse_device(first))),
    )


def test_last_number_of_a_retired_key_is_set_once() -> None:
    first, second = made_device(), made_device()
    roster = Roster().with_device("hall", first).without_device("hall", NOON_S)

    bounded = roster.with_last_seqs(lambda _: 7)
    again = bounded.with_device("hall", second).without_device("hall", NOON_S)

    found = {one.key: one.last_seq for one in again.with_last_seqs(lambda _: 9).retired_devices}
    assert found == {first: 7, second: 9}


def test_key_of_a_device_removed_by_an_earlier_version_is_added() -> None:
    key = made_device()

    roster = Roster().with_retired_key("hall", key, NOON_S)

    assert roster.with_retired_key("hall", key, NOON_S + 1) == roster
    bounded = roster.with_last_seqs(lambda _: 7)
    assert bounded.with_retired_key("hall", key, NOON_S + 1) == roster, "the bound is set again"
    assert roster.stored_device_keys() == {"hall": (TrustedKey(keys.parse_device(key)),)}
    with pytest.raises(UsageError, match="in use with this key"):
        Roster().with_device("hall", key).with_retired_key("hall", key, NOON_S)
    with pytest.raises(ConfigError):
        roster.with_retired_key("hall", "ed25519:", NOON_S)


def confirmed(roster: Roster, name: str, recipient: str) -> Roster:
    return (
        roster.with_owner(name, recipient)
        .with_challenge(name, "answer", NOON_S)
        .with_confirmation(name, "answer", NOON_S)
    )


def test_returning_owner_gets_their_retired_keys_back() -> None:
    first, second = made_key(), made_key()
    removed = confirmed(Roster(), "ada", first).with_new_key("ada", second).without_owner("ada")

    returned = confirmed(removed, "ada", second)

    assert removed.owner_keys() == {}
    assert removed.with_owner("ada", second).owner_keys() == {}
    assert returned.owner_keys() == {"ada": (second, first)}
    assert returned.removed_owners == ()
    assert parse(render(removed), "roster.json") == removed


def test_owner_with_another_key_gets_no_retired_keys() -> None:
    first, second, other = made_key(), made_key(), made_key()
    removed = confirmed(Roster(), "ada", first).with_new_key("ada", second).without_owner("ada")

    namesake = confirmed(removed, "ada", other)
    taken = confirmed(confirmed(removed, "bob", first), "ada", second)

    assert namesake.owner_keys() == {"ada": (other,)}
    assert taken.owner_keys() == {"ada": (second,), "bob": (first,)}


def test_file_without_retired_devices_has_the_earlier_form() -> None:
    key = made_device()
    roster = Roster().with_device("hall", key)
    removed = roster.without_device("hall", NOON_S)

    assert json.loads(render(roster)).keys() == {"v", "owners", "devices"}
    assert parse(render(removed), "roster.json") == removed
    twice = msgspec.structs.replace(removed, devices=roster.devices)
    with pytest.raises(ConfigError, match="twice"):
        parse(render(twice), "roster.json")


def test_invalid_keys_are_refused() -> None:
    with pytest.raises(ConfigError):
        Roster().with_owner("ada", "age1")
    with pytest.raises(ConfigError):
        Roster().with_device("kitchen", "ed25519:")


def test_next_key_becomes_active_after_confirmation() -> None:
    old, new = made_key(), made_key()
    roster = (
        Roster()
        .with_owner("ada", old)
        .with_challenge("ada", "one", 1)
        .with_confirmation("ada", "one", 2)
    )

    noted = roster.with_following("ada", new)
    assert noted.active_owners() == {"ada": old}
    moved = noted.with_challenge("ada", "two", 3).with_confirmation("ada", "two", 4)

    assert moved.active_owners() == {"ada": new}
    assert moved.owner_keys() == {"ada": (new, old)}
    assert noted.with_following("ada", new) == noted
    assert parse(render(moved), "a file") == moved
    with pytest.raises(UsageError, match="was used before"):
        moved.with_following("ada", old)
    with pytest.raises(UsageError, match="was used before"):
        moved.with_owner("bob", old)


def test_next_key_of_an_unconfirmed_owner_is_refused() -> None:
    with pytest.raises(UsageError, match="not confirmed their first key"):
        Roster().with_owner("ada", made_key()).with_following("ada", made_key())


def test_device_name_reserved_for_the_archive_is_refused() -> None:
    key = keys.device_text(Ed25519PrivateKey.generate().public_key())

    with pytest.raises(UsageError, match="reserved for the archive"):
        Roster().with_device("archive", key)


names = st.text("abc-", min_size=1, max_size=5)
owner_keys = st.sampled_from([made_key() for _ in range(4)])
device_keys = st.sampled_from([made_device() for _ in range(4)])


@given(st.lists(st.tuples(names, owner_keys)), st.lists(st.tuples(names, device_keys)))
def test_roster_round_trip(owners: list[tuple[str, str]], devices: list[tuple[str, str]]) -> None:
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
def test_damaged_roster_parses_or_raises_config_error(data: st.DataObject) -> None:
    whole = render(Roster().with_owner("ada", made_key()).with_device("kitchen", made_device()))
    start = data.draw(st.integers(0, len(whole)))
    cut = data.draw(st.integers(0, 30))
    changed = whole[:start] + data.draw(st.binary(max_size=30)) + whole[start + cut :]

    try:
        roster = parse(changed, "roster.json")
    except ConfigError:
        return
    assert parse(render(roster), "roster.json") == roster


def test_duplicate_name_or_key_in_a_file_is_refused(ada: Roster) -> None:
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


def test_unsorted_file_is_sorted(ada: Roster) -> None:
    roster = ada.with_owner("bob", made_key())
    other_way = Roster(owners=roster.owners[::-1])

    assert parse(render(other_way), "roster.json") == roster


def test_unknown_version_or_oversized_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="damaged"):
        parse(b'{"v":2}', "roster.json")
    with pytest.raises(ConfigError, match="damaged"):
        parse(b"[" * 100_000, "roster.json")
    with pytest.raises(ConfigError, match="longer than 4194304 bytes"):
        parse(bytes(ROSTER_LIMIT_BYTES + 1), "roster.json")


def test_roster_without_retired_keys_is_read() -> None:
    old = made_key()
    data = json.dumps({"v": 1, "owners": [{"name": "ada", "recipient": old, "active": True}]})

    assert parse(data.encode(), "a file").owner_keys() == {"ada": (old,)}


def test_retired_keys_of_an_owner_are_bounded(ada: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_RETIRED", 3)
    roster = ada.with_challenge("ada", "x", 1).with_confirmation("ada", "x", 1)
    for _ in range(3):
        roster = roster.with_new_key("ada", made_key())

    with pytest.raises(UsageError, match="3 retired keys"):
        roster.with_new_key("ada", made_key())
    assert len(roster.known_owner("ada").retired) == 3


def test_roster_with_the_most_retired_keys_of_many_owners_can_be_read() -> None:
    owners = tuple(
        records.Owner(
            name=f"{number:032}",
            recipient=f"age1{number:058}",
            retired=tuple(f"age1{key:058}" for key in range(records.MOST_RETIRED)),
        )
        for number in range(64)
    )

    assert len(render(Roster(owners=owners))) < ROSTER_LIMIT_BYTES
