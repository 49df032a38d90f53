"""Tests of the evdev mute switch on the running kernel, with a uinput device."""

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
    """Poll until true; the limit only ends a failing test."""
    until_s = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.005)


class Lever:
    """A mute switch created with uinput."""

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

    def remove(self) -> None:
        fcntl.ioctl(self._device, UI_DEV_DESTROY)

    def close(self) -> None:
        os.close(self._device)


@pytest.fixture
def lever() -> Iterator[Lever]:
    device = Lever("speaker-mute")
    yield device
    device.close()


@pytest.fixture
def line(lever: Lever) -> Iterator[InputLine]:
    opened = open_input(str(lever.node), INPUTS, KernelInputNode())
    yield opened
    opened.close()


def test_device_is_selected_by_name_path_or_capability(lever: Lever) -> None:
    other = Lever("laptop lid", SW_LID)
    try:
        for name_or_path in ("speaker-mute", str(lever.node), ""):
            open_input(name_or_path, INPUTS, KernelInputNode()).close()
        with pytest.raises(Unavailable, match="has no mute switch"):
            open_input(str(other.node), INPUTS, KernelInputNode())
        with pytest.raises(Unavailable, match="'laptop lid'"):
            open_input("laptop lid", INPUTS, KernelInputNode())
    finally:
        other.close()


def test_position_set_before_open_is_read(lever: Lever) -> None:
    lever.throw(shut=True)

    line = open_input("", INPUTS, KernelInputNode())

    assert line.was_muted()
    line.close()


def test_edge_makes_the_node_readable_and_is_detected(lever: Lever, line: InputLine) -> None:
    assert not line.was_muted()
    lever.throw(shut=True)
    assert select.select((line,), (), (), 10)[0]
    assert line.was_muted()
    assert not select.select((line,), (), (), 0)[0], "was_muted reads the event"

    lever.throw(shut=False)

    assert line.was_muted()
    assert not line.was_muted()


def test_mute_and_release_between_polls_is_detected(lever: Lever, line: InputLine) -> None:
    line.was_muted()

    lever.throw(shut=True)
    lever.throw(shut=False)

    assert line.was_muted()
    assert not line.was_muted()


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("edges", [3, 200, 5_000])
def test_many_edges_end_in_the_last_position(
    lever: Lever,
    line: InputLine,
    edges: int,
    *,
    last: bool,
) -> None:
    line.was_muted()

    # Thousands exceed the kernel's buffer: it drops them and sends SYN_DROPPED.
    for number in range(edges):
        lever.throw(shut=number % 2 == 0)
    lever.throw(shut=last)

    assert line.was_muted()
    line.was_muted()
    assert line.was_muted() is last


def test_position_of_a_grabbed_node_is_read(lever: Lever, line: InputLine) -> None:
    grabber = os.open(lever.node, os.O_RDONLY)
    fcntl.ioctl(grabber, EVIOCGRAB, 1)
    line.was_muted()

    lever.throw(shut=True)

    assert not select.select((line,), (), (), 0.2)[0], "the grabber receives the event"
    assert line.was_muted()
    os.close(grabber)


def test_removed_node_mutes_and_is_reopened(lever: Lever) -> None:
    now_s = 0.0
    switch = LineSwitch(
        "input", lambda: open_input("speaker-mute", INPUTS, KernelInputNode()), lambda: now_s
    )
    assert not switch.is_muted(0)
    (node,) = switch.filenos()
    lever.remove()
    assert select.select((node,), (), (), 10)[0], "a removed node ends a wait"

    assert switch.is_muted(0)
    assert switch.filenos() == ()

    again = Lever("speaker-mute")
    now_s += 10
    assert switch.is_muted(0), "it may have been muted meanwhile"
    assert not switch.is_muted(0)
    again.throw(shut=True)
    assert switch.is_muted(0)
    switch.close()
    again.close()


def test_removed_node_raises_the_same_error_as_the_fake(lever: Lever, line: InputLine) -> None:
    lever.remove()

    with pytest.raises(OSError, match="No such device") as caught:
        line.was_muted()

    assert caught.value.errno == errno.ENODEV
