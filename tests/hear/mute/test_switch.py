"""The switch behind a line of the kernel that may be lost and found again."""

import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable, UsageError
from listener.hear.mute.evdev import InputLine
from listener.hear.mute.switch import (
    FIRST_BACKOFF_S,
    LONGEST_BACKOFF_S,
    LineSwitch,
    MuteInterval,
    NoSwitch,
    ScriptedSwitch,
    parse_mute_intervals,
)
from tests.hear.mute.nodes import FakeSwitchNode


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


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A switch whose line fails as the test says."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.opened = 0
        self.fails: Callable[[], object] = lambda: None
        self.nodes: list[FakeSwitchNode] = []
        self.switch = LineSwitch("input", self._open, self.clock)

    def _open(self) -> InputLine:
        self.opened += 1
        self.fails()
        node = FakeSwitchNode()
        self.nodes.append(node)
        return InputLine(node.node, node)

    def close(self) -> None:
        self.switch.close()
        for node in self.nodes:
            node.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def absent() -> None:
    raise Unavailable("there is no input device that can mute", "plug it in")


def test_it_is_muted_until_the_line_was_read(bench: Bench) -> None:
    assert bench.switch.filenos() == ()

    bench.fails = absent
    assert bench.switch.is_muted(0)
    assert not bench.switch.is_read

    bench.fails = lambda: None
    bench.clock.now_s += FIRST_BACKOFF_S
    assert bench.switch.is_muted(0), "it may have been shut until this moment"
    assert not bench.switch.is_muted(0)
    assert bench.switch.is_read
    assert bench.switch.filenos() == (bench.nodes[0].node,)


def test_a_lost_line_is_muted_said_once_and_looked_for_with_growing_pauses(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert not bench.switch.is_muted(0)
    bench.nodes[0].vanish()
    bench.fails = absent

    for _ in range(1000):
        assert bench.switch.is_muted(0)
        bench.clock.now_s += 0.08

    assert bench.switch.filenos() == ()
    said = [record.message for record in caplog.records]
    assert said == ["the mute switch cannot be read, so this is muted: [Errno 19] No such device"]
    # 80 s: a quarter of a second, a half, one, two, four, and then every five.
    assert 15 < bench.opened < 25


def test_a_line_that_comes_back_is_read_anew(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.switch.is_muted(0)
    bench.nodes[0].vanish()
    assert bench.switch.is_muted(0)

    bench.clock.now_s += LONGEST_BACKOFF_S
    with caplog.at_level(logging.WARNING):
        assert bench.switch.is_muted(0), "it may have been shut until this moment"
    assert not bench.switch.is_muted(0)

    bench.nodes[1].throw(muted=True)
    assert bench.switch.is_muted(0)
    assert caplog.records[-1].message == "the mute switch can be read again"


def test_an_open_that_fails_tells_what_to_do(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fails = absent

    assert bench.switch.is_muted(0)

    assert caplog.records[-1].message.endswith("there is no input device that can mute; plug it in")
