"""The mute switch of the real kernel: an input device made by uinput, where there is one."""

import errno
import fcntl
import os
import select
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.hear.mute.evdev import EVENT, SW_MUTE_DEVICE, InputLine, KernelInputNode, open_input
from listener.hear.mute.switch import LineSwitch

UINPUT = Path("/dev/uinput")
INPUTS = Path("/dev/input")

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(not UINPUT.exists(), reason="this kernel has no uinput (modprobe uinput)"),
]

# linux/uinput.h
UI_SET_EVBIT, UI_SET_SWBIT = 0x4004_5564, 0x4004_556D
UI_DEV_SETUP, UI_DEV_CREATE, UI_DEV_DESTROY = 0x405C_5503, 0x5501, 0x5502
EV_SYN, EV_SW, SW_LID = 0, 5, 0
EVIOCGRAB = 0x4004_4590


def wait_until(holds: Callable[[], object]) -> None:
    """The limit is for failures, not a measurement."""
    until_s = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.005)


class Lever:
    """A mute switch that the kernel believes in."""

    def __init__(self, name: str, switch: int = SW_MUTE_DEVICE) -> None:
        self._switch = switch
        before = set(INPUTS.glob("event*"))
        self._device = os.open(UINPUT, os.O_WRONLY | os.O_NONBLOCK)
        fcntl.ioctl(self._device, UI_SET_EVBIT, EV_SW)
        fcntl.ioctl(self._device, UI_SET_SWBIT, switch)
        setup = struct.pack("@HHHH80sI", 3, 1, 1, 1, name.encode(), 0)
        fcntl.ioctl(self._device, UI_DEV_SETUP, setup)
        fcntl.ioctl(self._device, UI_DEV_CREATE)
        wait_until(lambda: set(INPUTS.glob("event*")) - before)
        (self.node,) = set(INPUTS.glob("event*")) - before

    def throw(self, *, shut: bool) -> None:
        events = ((EV_SW, self._switch, int(shut)), (EV_SYN, 0, 0))
        os.write(self._device, b"".join(EVENT.pack(0, 0, *event) for event in events))

    def vanish(self) -> None:
        fcntl.ioctl(self._device, UI_DEV_DESTROY)

    def close(self) -> None:
        os.close(self._device)


@pytest.fixture
def lever() -> Iterator[Lever]:
    made = Lever("speaker-mute")
    yield made
    made.close()


@pytest.fixture
def line(lever: Lever) -> Iterator[InputLine]:
    opened = open_input(str(lever.node), INPUTS, KernelInputNode())
    yield opened
    opened.close()


def test_it_is_found_by_name_by_node_and_by_what_it_can_do(lever: Lever) -> None:
    other = Lever("laptop lid", SW_LID)
    try:
        for wanted in ("speaker-mute", str(lever.node), ""):
            open_input(wanted, INPUTS, KernelInputNode()).close()
        with pytest.raises(Unavailable, match="has no mute switch"):
            open_input(str(other.node), INPUTS, KernelInputNode())
        with pytest.raises(Unavailable, match="'laptop lid'"):
            open_input("laptop lid", INPUTS, KernelInputNode())
    finally:
        other.close()


def test_the_position_before_the_open_is_read(lever: Lever) -> None:
    lever.throw(shut=True)

    line = open_input("", INPUTS, KernelInputNode())

    assert line.was_muted()
    line.close()


def test_an_edge_wakes_a_wait_and_is_seen(lever: Lever, line: InputLine) -> None:
    assert not line.was_muted()
    lever.throw(shut=True)
    assert select.select((line,), (), (), 10)[0]
    assert line.was_muted()
    assert not select.select((line,), (), (), 0)[0], "asking takes away what woke"

    lever.throw(shut=False)

    assert line.was_muted()
    assert not line.was_muted()


def test_thrown_and_released_between_two_questions_was_shut(lever: Lever, line: InputLine) -> None:
    line.was_muted()

    lever.throw(shut=True)
    lever.throw(shut=False)

    assert line.was_muted()
    assert not line.was_muted()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("edges", [3, 200, 5_000])
def test_edges_however_many_end_in_the_state_of_the_last(
    lever: Lever,
    line: InputLine,
    edges: int,
    *,
    last: bool,
) -> None:
    line.was_muted()

    # Thousands are more than the kernel keeps for a reader: it drops them, and says so.
    for number in range(edges):
        lever.throw(shut=number % 2 == 0)
    lever.throw(shut=last)

    assert line.was_muted()
    line.was_muted()
    assert line.was_muted() is last


def test_a_node_that_another_process_grabbed_still_tells(lever: Lever, line: InputLine) -> None:
    thief = os.open(lever.node, os.O_RDONLY)
    fcntl.ioctl(thief, EVIOCGRAB, 1)
    line.was_muted()

    lever.throw(shut=True)

    assert not select.select((line,), (), (), 0.2)[0], "the thief has the event"
    assert line.was_muted()
    os.close(thief)


def test_a_node_that_vanishes_is_muted_and_found_again(lever: Lever) -> None:
    now_s = 0.0
    switch = LineSwitch(
        "input", lambda: open_input("speaker-mute", INPUTS, KernelInputNode()), lambda: now_s
    )
    assert not switch.is_muted(0)
    (node,) = switch.filenos()
    lever.vanish()
    assert select.select((node,), (), (), 10)[0], "it wakes who waits"

    assert switch.is_muted(0)
    assert switch.filenos() == ()

    again = Lever("speaker-mute")
    now_s += 10
    assert switch.is_muted(0), "it may have been shut until this moment"
    assert not switch.is_muted(0)
    again.throw(shut=True)
    assert switch.is_muted(0)
    switch.close()
    again.close()


def test_a_vanished_node_gives_the_error_that_the_fake_gives(lever: Lever, line: InputLine) -> None:
    lever.vanish()

    with pytest.raises(OSError, match="No such device") as caught:
        line.was_muted()

    assert caught.value.errno == errno.ENODEV
