"""The owners' shares of the message with key rotations."""

from hypothesis import given
from hypothesis import strategies as st

from listener.archive.pending_keys import PendingKey, share_message
from listener.owner.key_rotation import LONGEST_BYTES

ROW = "r" * 400


def test_everything_that_fits_is_included_in_order() -> None:
    pending = [PendingKey("ada", "1"), PendingKey("bob", "2"), PendingKey("ada", "3")]

    assert share_message(pending) == ["1", "2", "3"]
    assert share_message([]) == []


def test_many_changes_of_one_owner_leave_the_others_theirs() -> None:
    pending = [PendingKey("ada", f"ada{ROW}"), PendingKey("eve", f"eve{ROW}")]
    pending += [PendingKey("bob", f"{number:03}{ROW}") for number in range(16)]

    included = share_message(pending)

    assert f"ada{ROW}" in included
    assert f"eve{ROW}" in included
    assert included[-1] == f"015{ROW}"
    assert len("[]") + sum(len(text) + 1 for text in included) <= LONGEST_BYTES


@given(
    st.lists(
        st.builds(PendingKey, st.sampled_from("abcde"), st.text("x", min_size=1, max_size=60)),
        max_size=60,
    ),
    st.integers(2, 400),
)
def test_message_is_bounded_and_holds_the_newest_of_each_owner(
    pending: list[PendingKey], most_bytes: int
) -> None:
    numbered = [PendingKey(one.owner, f"{at:03}{one.text}") for at, one in enumerate(pending)]

    included = share_message(numbered, most_bytes)

    assert len(f"[{','.join(included)}]") <= most_bytes
    assert included == sorted(included)
    for owner in "abcde":
        own = [one.text for one in numbered if one.owner == owner]
        number = sum(text in included for text in own)
        assert number == 0 or own[-number:] == [text for text in included if text in own]
