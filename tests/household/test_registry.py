import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError, EarmarkError
from listener.household import identity, registry
from listener.household.registry import (
    INVITATION_S,
    MOST_SET_BACK_S,
    IssuedCertificate,
    Registry,
    Speaker,
)

HALL, ADA = identity.device("hall"), identity.owner("ada")
NOW_S = 1_800_000_000


def issued(cn: str, serial: int) -> IssuedCertificate:
    return IssuedCertificate(cn=cn, serial=f"{serial:x}", made_s=NOW_S, until_s=NOW_S + 100)


def test_invitation_is_valid_once_and_for_an_hour() -> None:
    invited = Registry().with_invitation(HALL, "token", NOW_S)

    used, who = invited.with_admission("token", b"key", NOW_S + INVITATION_S - 1)

    assert who == HALL
    with pytest.raises(EarmarkError, match="already used"):
        used.with_admission("token", b"another key", NOW_S)
    long_before_s = NOW_S - MOST_SET_BACK_S - 1
    for wrong, when in (
        ("other", NOW_S),
        ("token", NOW_S + INVITATION_S),
        ("token", long_before_s),
    ):
        with pytest.raises(EarmarkError, match="unknown or has expired"):
            invited.with_admission(wrong, b"key", when)


def test_same_key_can_repeat_its_request() -> None:
    used, _ = (
        Registry().with_invitation(HALL, "token", NOW_S).with_admission("token", b"key", NOW_S)
    )

    again, who = used.with_admission("token", b"key", NOW_S + 1)

    assert (again, who) == (used, HALL)


def test_new_invitation_replaces_the_earlier_one() -> None:
    both = Registry().with_invitation(HALL, "one", NOW_S).with_invitation(HALL, "two", NOW_S)

    with pytest.raises(EarmarkError):
        both.with_admission("one", b"key", NOW_S)
    assert both.with_admission("two", b"key", NOW_S)[1] == HALL


def test_registry_stores_no_token() -> None:
    data = registry.render(Registry().with_invitation(HALL, "a-secret-token", NOW_S))

    assert b"a-secret-token" not in data


def test_revoking_affects_one_identity_only() -> None:
    before = (
        Registry()
        .with_issued(issued("d-hall", 1))
        .with_issued(issued("d-hall", 2))
        .with_issued(issued("o-ada", 3))
        .with_invitation(HALL, "token", NOW_S)
        .with_speaker(Speaker(name="hall"))
    )

    after = before.without(HALL, NOW_S + 1)

    assert {each.number for each in after.revoked()} == {1, 2}
    assert after.members() == (ADA,)
    assert after.speakers == ()
    assert set(after.valid(NOW_S)) == {ADA}
    with pytest.raises(EarmarkError, match="no certificate to revoke"):
        after.without(HALL, NOW_S)
    with pytest.raises(EarmarkError):
        after.with_admission("token", b"key", NOW_S)


def test_rejoining_keeps_the_old_certificate_revoked() -> None:
    back = (
        Registry()
        .with_issued(issued("d-hall", 1))
        .without(HALL, NOW_S)
        .with_issued(issued("d-hall", 2))
    )

    assert back.valid(NOW_S)[HALL].number == 2
    assert [each.number for each in back.revoked()] == [1]


def test_member_has_rights_from_invitation_to_revocation() -> None:
    members = Registry().with_invitation(ADA, "t", NOW_S).with_issued(issued("d-hall", 1))

    assert members.members() == (HALL, ADA)
    assert members.valid(NOW_S + 200) == {}


def test_speaker_has_one_entry() -> None:
    registry_ = (
        Registry()
        .with_speaker(Speaker(name="hall"))
        .with_speaker(Speaker(name="hall", area="Hall", remote_unmute=True))
    )

    assert registry_.speakers == (Speaker(name="hall", area="Hall", remote_unmute=True),)
    assert registry_.speaker("kitchen") == Speaker(name="kitchen")


def test_rendered_registry_is_parsed_again() -> None:
    full = (
        Registry(hosts=("home",), broker_folder="/etc/mosquitto/earmark")
        .with_issued(issued("d-hall", 1))
        .with_invitation(ADA, "token", NOW_S)
        .with_speaker(Speaker(name="hall", area="Küche"))
    )

    assert registry.parse(registry.render(full), "there") == full


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_one_error(data: bytes) -> None:
    with pytest.raises(ConfigError, match="damaged"):
        registry.parse(data or b"x", "there")


@pytest.mark.parametrize("cn", ["d-archive", "s-watch", "d-a/b", "x-hall", "d-"])
def test_registry_with_an_invalid_name_is_damaged(cn: str) -> None:
    data = registry.render(Registry().with_issued(issued(cn, 1)))

    with pytest.raises(ConfigError, match="damaged"):
        registry.parse(data, "there")
