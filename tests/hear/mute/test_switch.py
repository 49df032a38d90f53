"""Tests of the scripted switch and of a line that may be lost and reopened."""

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


def test_mute_intervals_are_parsed_in_seconds() -> None:
    assert parse_mute_intervals("40-50, 72.5-80,90-") == (
        MuteInterval(640_000, 800_000),
        MuteInterval(1_160_000, 1_280_000),
        MuteInterval(1_440_000, None),
    )


@pytest.mark.parametrize(
    "text", ["", "40", "50-40", "5-5", "a-b", "-3", "1-2,", "1-2-3", "\uff11-\uff12"]
)
def test_invalid_mute_intervals_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mute_intervals(text)

    assert "40-50" in caught.value.hint


@given(
    st.integers(0, 300),
    st.integers(1, 300),
    st.lists(st.integers(0, 40), max_size=40),
)
def test_scripted_switch_covers_exactly_its_samples(
    first: int, length: int, steps: list[int]
) -> None:
    switch = ScriptedSwitch([MuteInterval(first, first + length)])
    interval = range(first, first + length)
    at = 0

    for step in steps:
        now = switch.is_muted(at)
        assert now == (at in interval), "a second call at the same sample is about that sample"
        was_muted = switch.is_muted(at + step)
        assert was_muted == any(place in interval for place in range(at, at + max(step, 1)))
        at += step
        switch.is_muted(at)


def test_interval_without_an_end_lasts() -> None:
    switch = ScriptedSwitch([MuteInterval(10, None)])

    assert not switch.is_muted(9)
    assert switch.is_muted(1 << 40)


def test_no_switch_is_never_muted() -> None:
    assert not NoSwitch().is_muted(0)
    assert NoSwitch().about == "none"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A `LineSwitch` whose line fails on request of the test."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.opened = 0
        self.before_open: Callable[[], object] = lambda: None
        self.nodes: list[FakeSwitchNode] = []
        self.switch = LineSwitch("input", self._open, self.clock)

    def _open(self) -> InputLine:
        self.opened += 1
        self.before_open()
        node = FakeSwitchNode()
        self.nodes.append(node)
        return InputLine(node.node, node)

    def close(self) -> None:
        self.switch.close()
        for node in self.nodes:
            node.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def raise_missing() -> None:
    raise Unavailable("there is no input device that can mute", "plug it in")


def test_switch_is_muted_until_the_line_is_read(bench: Bench) -> None:
    assert bench.switch.filenos() == ()

    bench.before_open = raise_missing
    assert bench.switch.is_muted(0)
    assert not bench.switch.is_read

    bench.before_open = lambda: None
    bench.clock.now_s += FIRST_BACKOFF_S
    assert bench.switch.is_muted(0), "it may have been muted meanwhile"
    assert not bench.switch.is_muted(0)
    assert bench.switch.is_read
    assert bench.switch.filenos() == (bench.nodes[0].node,)


def test_lost_line_mutes_is_logged_once_and_retried_with_backoff(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert not bench.switch.is_muted(0)
    bench.nodes[0].remove()
    bench.before_open = raise_missing

    for _ in range(1000):
        assert bench.switch.is_muted(0)
        bench.clock.now_s += 0.08

    assert bench.switch.filenos() == ()
    messages = [record.message for record in caplog.records]
    assert messages == [
        "the mute switch cannot be read, so this is muted: [Errno 19] No such device"
    ]
    # In 80 s: after 0.25, 0.5, 1, 2 and 4 s, then every 5 s.
    assert 15 < bench.opened < 25


def test_line_that_comes_back_is_read_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.switch.is_muted(0)
    bench.nodes[0].remove()
    assert bench.switch.is_muted(0)

    bench.clock.now_s += LONGEST_BACKOFF_S
    with caplog.at_level(logging.WARNING):
        assert bench.switch.is_muted(0), "it may have been muted meanwhile"
    assert not bench.switch.is_muted(0)

    bench.nodes[1].throw(muted=True)
    assert bench.switch.is_muted(0)
    assert caplog.records[-1].message == "the mute switch can be read again"


def test_failed_open_logs_the_hint(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.before_open = raise_missing

    assert bench.switch.is_muted(0)

    assert caplog.records[-1].message.endswith("there is no input device that can mute; plug it in")
