import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import UsageError
from listener.household import identity
from listener.household.identity import HouseholdIdentity, IdentityKind

HOSTILE = (
    *("", "a/b", "+", "#", "a+", "hall#", "..", ".", "a.b", "ha\0ll", "hall\n", " hall", "Hall"),
    *("аda", "hаll", "ad\u0430", "hall\u200b", "ﬁve", "１", "a" * 33, "%u", "%c", "$SYS", "d_x"),  # noqa: RUF001 - look-alikes are the point
)


@pytest.mark.parametrize("name", HOSTILE)
def test_name_with_topic_or_path_characters_is_refused(name: str) -> None:
    for make in (identity.device, identity.owner):
        with pytest.raises(UsageError, match="not a valid name for"):
            make(name)
    for prefix in ("d-", "o-", "s-"):
        with pytest.raises(UsageError):
            identity.parse(prefix + name)


@given(st.text(max_size=40))
def test_accepted_common_name_has_prefix_and_plain_letters(text: str) -> None:
    try:
        parsed = identity.parse(text)
    except UsageError:
        return

    assert parsed.cn == text
    assert text.isascii()
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_prefix_determines_the_kind() -> None:
    assert identity.device("ada") != identity.owner("ada")
    assert identity.parse("d-ada").kind is IdentityKind.DEVICE
    assert identity.parse("o-ada").kind is IdentityKind.OWNER
    assert identity.parse("s-archive").kind is IdentityKind.SERVICE
    assert identity.parse("d-ada").name == identity.parse("o-ada").name == "ada"


def test_device_cannot_be_named_archive() -> None:
    with pytest.raises(UsageError, match="the device name archive is reserved"):
        identity.device("archive")
    assert identity.owner("archive") == HouseholdIdentity("o-archive")


def test_unknown_service_is_refused() -> None:
    with pytest.raises(UsageError, match="not a valid identity"):
        identity.parse("s-watch")


def test_numbered_archives_and_brokers_are_services_of_their_own() -> None:
    assert identity.archive(0) == identity.ARCHIVE
    assert identity.broker(1) == identity.BROKER
    for who in (identity.archive(1), identity.archive(identity.MOST_ARCHIVES), identity.broker(2)):
        assert identity.parse(who.cn) == who
        assert who.kind is IdentityKind.SERVICE
    assert identity.is_archive(identity.archive(7))
    assert identity.is_server(identity.broker(3))
    assert not identity.is_server(identity.archive(3))
    assert not identity.is_archive(identity.broker(3))


@pytest.mark.parametrize("cn", ["s-archive-0", "s-archive-100", "s-archive-01", "s-broker-9"])
def test_other_numbers_are_refused(cn: str) -> None:
    with pytest.raises(UsageError):
        identity.parse(cn)


def test_added_services_can_be_revoked() -> None:
    added = (identity.archive(1), identity.PROXY, identity.ASSIST, identity.device("hall"))
    assert all(identity.is_revocable(who) for who in added)
    fixed = (identity.ARCHIVE, identity.API, identity.BROKER, identity.broker(2))
    assert not any(identity.is_revocable(who) for who in fixed)
