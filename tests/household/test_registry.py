import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError, EarmarkError
from listener.household import identity, registry
from listener.household.registry import INVITATION_S, IssuedCertificate, Registry, Speaker

HALL, ADA = identity.device("hall"), identity.owner("ada")
NOW_S = 1_800_000_000


def issued(cn: str, serial: int) -> IssuedCertificate:
    return IssuedCertificate(cn=cn, serial=f"{serial:x}", made_s=NOW_S, until_s=NOW_S + 100)


def test_an_invitation_counts_once_and_for_the_hour() -> None:
    invited = Registry().with_invitation(HALL, "token", NOW_S)

    used, who = invited.with_admission("token", b"key", NOW_S + INVITATION_S - 1)

    assert who == HALL
    with pytest.raises(EarmarkError, match="used already"):
        used.with_admission("token", b"another key", NOW_S)
    for wrong, when in (("other", NOW_S), ("token", NOW_S + INVITATION_S)):
        with pytest.raises(EarmarkError, match="not known, or it has expired"):
            invited.with_admission(wrong, b"key", when)


def test_an_answer_that_was_lost_can_be_asked_for_again_by_the_same_key() -> None:
    used, _ = (
        Registry().with_invitation(HALL, "token", NOW_S).with_admission("token", b"key", NOW_S)
    )

    again, who = used.with_admission("token", b"key", NOW_S + 1)

    assert (again, who) == (used, HALL)


def test_a_new_invitation_ends_the_one_before() -> None:
    both = Registry().with_invitation(HALL, "one", NOW_S).with_invitation(HALL, "two", NOW_S)

    with pytest.raises(EarmarkError):
        both.with_admission("one", b"key", NOW_S)
    assert both.with_admission("two", b"key", NOW_S)[1] == HALL


def test_no_token_is_kept() -> None:
    kept = registry.render(Registry().with_invitation(HALL, "a-secret-token", NOW_S))

    assert b"a-secret-token" not in kept


def test_revoking_takes_all_of_one_and_nothing_of_others() -> None:
    before = (
        Registry()
        .with_issued(issued("d-hall", 1))
        .with_issued(issued("d-hall", 2))
        .with_issued(issued("o-ada", 3))
        .with_invitation(HALL, "token", NOW_S)
        .with_speaker(Speaker(name="hall"))
    )

    after = before.without(HALL, NOW_S + 1)

    assert {one.number for one in after.revoked()} == {1, 2}
    assert after.members() == (ADA,)
    assert after.speakers == ()
    assert set(after.valid(NOW_S)) == {ADA}
    with pytest.raises(EarmarkError, match="nothing to take back"):
        after.without(HALL, NOW_S)
    with pytest.raises(EarmarkError):
        after.with_admission("token", b"key", NOW_S)


def test_one_that_comes_back_has_a_certificate_again_and_the_old_stays_revoked() -> None:
    back = (
        Registry()
        .with_issued(issued("d-hall", 1))
        .without(HALL, NOW_S)
        .with_issued(issued("d-hall", 2))
    )

    assert back.valid(NOW_S)[HALL].number == 2
    assert [one.number for one in back.revoked()] == [1]


def test_whoever_is_invited_has_rights_before_it_joins_and_keeps_them_when_it_expires() -> None:
    known = Registry().with_invitation(ADA, "t", NOW_S).with_issued(issued("d-hall", 1))

    assert known.members() == (HALL, ADA)
    assert known.valid(NOW_S + 200) == {}


def test_a_speaker_is_noted_once() -> None:
    noted = (
        Registry()
        .with_speaker(Speaker(name="hall"))
        .with_speaker(Speaker(name="hall", area="Hall", remote_unmute=True))
    )

    assert noted.speakers == (Speaker(name="hall", area="Hall", remote_unmute=True),)
    assert noted.speaker("kitchen") == Speaker(name="kitchen")


def test_what_is_written_is_read() -> None:
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
def test_a_register_with_an_impossible_name_is_damaged(cn: str) -> None:
    data = registry.render(Registry().with_issued(issued(cn, 1)))

    with pytest.raises(ConfigError, match="damaged"):
        registry.parse(data, "there")
