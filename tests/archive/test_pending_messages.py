"""The owners' shares of the message with key rotations or consents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.archive.pending_messages import PendingMessage, share_message
from listener.owner.key_rotation import LONGEST_BYTES

ROW = "r" * 400


def test_everything_that_fits_is_included_in_order() -> None:
    pending = [PendingMessage("ada", "1"), PendingMessage("bob", "2"), PendingMessage("ada", "3")]

    assert share_message(pending, {"ada", "bob"}) == ["1", "2", "3"]
    assert share_message([], set()) == []


@pytest.mark.parametrize("known", [{"ada", "bob", "eve"}, {"ada"}, {"bob"}, {"bob", "eve"}, set()])
def test_many_changes_of_one_owner_displace_no_others(known: set[str]) -> None:
    pending = [PendingMessage("ada", f"ada{ROW}"), PendingMessage("eve", f"eve{ROW}")]
    pending += [PendingMessage("bob", f"{number:03}{ROW}") for number in range(16)]

    included = share_message(pending, known)

    assert f"ada{ROW}" in included
    assert f"eve{ROW}" in included
    assert included[-1] == f"015{ROW}"
    assert len("[]") + sum(len(text) + 1 for text in included) <= LONGEST_BYTES


def test_owner_without_clips_of_the_device_comes_last() -> None:
    pending = [PendingMessage("ada", f"{number:03}{ROW}") for number in range(3)]
    pending += [PendingMessage("bob", f"{number:03}{ROW}") for number in range(100, 116)]

    assert [text[:3] for text in share_message(pending, {"ada"}, 2200)] == (
        ["000", "001", "002", "114", "115"]
    )
    assert [text[:3] for text in share_message(pending, {"ada"}, 500)] == ["002"]
    assert [text[:3] for text in share_message(pending, {"bob"}, 500)] == ["115"]


@given(
    st.lists(
        st.builds(PendingMessage, st.sampled_from("abcde"), st.text("x", min_size=1, max_size=60)),
        max_size=60,
    ),
    st.integers(2, 400),
    st.sets(st.sampled_from("abcde")),
)
def test_message_is_bounded_and_holds_the_newest_of_each_owner(
    pending: list[PendingMessage], most_bytes: int, known: set[str]
) -> None:
    numbered = [PendingMessage(one.owner, f"{at:03}{one.text}") for at, one in enumerate(pending)]

    included = share_message(numbered, known, most_bytes)

    assert len(f"[{','.join(included)}]") <= most_bytes
    assert included == sorted(included)
    for owner in "abcde":
        own = [one.text for one in numbered if one.owner == owner]
        number = sum(text in included for text in own)
        assert number == 0 or own[-number:] == [text for text in included if text in own]
