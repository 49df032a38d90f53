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
def test_a_name_that_could_reach_elsewhere_is_refused(name: str) -> None:
    for make in (identity.device, identity.owner):
        with pytest.raises(UsageError, match="not a valid name for"):
            make(name)
    for prefix in ("d-", "o-", "s-"):
        with pytest.raises(UsageError):
            identity.parse(prefix + name)


@given(st.text(max_size=40))
def test_what_is_accepted_is_a_prefix_and_plain_letters(text: str) -> None:
    try:
        found = identity.parse(text)
    except UsageError:
        return

    assert found.cn == text
    assert text.isascii()
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_the_prefix_tells_kinds_apart() -> None:
    assert identity.device("ada") != identity.owner("ada")
    assert identity.parse("d-ada").kind is IdentityKind.DEVICE
    assert identity.parse("o-ada").kind is IdentityKind.OWNER
    assert identity.parse("s-archive").kind is IdentityKind.SERVICE
    assert identity.parse("d-ada").name == identity.parse("o-ada").name == "ada"


def test_no_device_stands_where_the_archive_does() -> None:
    with pytest.raises(UsageError, match="no device can be called archive"):
        identity.device("archive")
    assert identity.owner("archive") == HouseholdIdentity("o-archive")


def test_a_service_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(UsageError, match="nobody in a household"):
        identity.parse("s-watch")
