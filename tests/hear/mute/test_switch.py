import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import UsageError
from listener.hear.mute.switch import MuteInterval, NoSwitch, ScriptedSwitch, parse_mute_intervals


def test_stretches_are_read_in_seconds() -> None:
    assert parse_mute_intervals("40-50, 72.5-80,90-") == (
        MuteInterval(640_000, 800_000),
        MuteInterval(1_160_000, 1_280_000),
        MuteInterval(1_440_000, None),
    )


@pytest.mark.parametrize(
    "text", ["", "40", "50-40", "5-5", "a-b", "-3", "1-2,", "1-2-3", "\uff11-\uff12"]
)
def test_what_is_no_stretch_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_mute_intervals(text)

    assert "40-50" in refused.value.hint


@given(
    st.integers(0, 300),
    st.integers(1, 300),
    st.lists(st.integers(0, 40), max_size=40),
)
def test_a_scripted_switch_covers_exactly_its_samples(
    first: int, length: int, steps: list[int]
) -> None:
    switch = ScriptedSwitch([MuteInterval(first, first + length)])
    shut = range(first, first + length)
    at = 0

    for step in steps:
        now = switch.is_muted(at)
        assert now == (at in shut), "asked twice at one place, the answer is about now"
        passed = switch.is_muted(at + step)
        assert passed == any(place in shut for place in range(at, at + max(step, 1)))
        at += step
        switch.is_muted(at)


def test_a_stretch_without_an_end_lasts() -> None:
    switch = ScriptedSwitch([MuteInterval(10, None)])

    assert not switch.is_muted(9)
    assert switch.is_muted(1 << 40)


def test_no_switch_is_never_shut_and_says_what_it_is() -> None:
    assert not NoSwitch().is_muted(0)
    assert NoSwitch().about == "none"
