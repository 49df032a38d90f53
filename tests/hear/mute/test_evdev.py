"""The kernel's mute switch: its edge is faked, everything behind it is real."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.hear.mute.evdev import (
    EVENT,
    MAX_READS,
    SW_MUTE_DEVICE,
    InputLine,
    KernelInputNode,
    open_input,
)
from tests.hear.mute.nodes import (
    EV_KEY,
    EV_SW,
    EV_SYN,
    SYN_DROPPED,
    SYN_REPORT,
    FakeSwitchNode,
)


@pytest.fixture
def node() -> Iterator[FakeSwitchNode]:
    made = FakeSwitchNode()
    yield made
    made.close()


@pytest.fixture
def line(node: FakeSwitchNode) -> Iterator[InputLine]:
    made = InputLine(node.node, node)
    yield made
    made.close()


def test_the_position_at_open_comes_without_an_event(node: FakeSwitchNode, line: InputLine) -> None:
    node.muted = True

    assert line.was_muted()
    assert line.was_muted()


def test_an_edge_each_way_is_seen(node: FakeSwitchNode, line: InputLine) -> None:
    assert not line.was_muted()

    node.throw(muted=True)
    assert line.was_muted()
    assert line.was_muted()

    node.throw(muted=False)
    assert line.was_muted(), "it was shut until a moment ago"
    assert not line.was_muted()


def test_thrown_and_released_between_two_questions_was_shut(
    node: FakeSwitchNode, line: InputLine
) -> None:
    line.was_muted()

    node.throw(muted=True)
    node.throw(muted=False)

    assert line.was_muted()
    assert not line.was_muted()


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
@example([True, False] * 20, [])
@example([True, False] * 20, [False] * 38 + [True] * 2)
def test_edges_however_fast_end_in_the_state_of_the_last(
    throws: list[bool], asks: list[bool]
) -> None:
    node = FakeSwitchNode()
    line = InputLine(node.node, node)
    try:
        touched = before = node.muted
        unread = 0
        for muted, asked in zip(throws, asks + [False] * len(throws), strict=False):
            touched |= before or muted
            unread += muted != before
            node.throw(muted=muted)
            before = muted
            if asked:
                # An edge for which one question had no time is for the next.
                assert line.was_muted() is (touched or unread > 0)
                touched, unread = muted, max(0, unread - MAX_READS)
        while unread > 0:
            assert line.was_muted()
            unread -= MAX_READS
        line.was_muted()

        assert line.was_muted() is node.muted
    finally:
        line.close()
        node.close()


def test_events_that_the_kernel_dropped_may_have_been_a_mute(
    node: FakeSwitchNode, line: InputLine
) -> None:
    assert not line.was_muted()

    node.give((EV_SYN, SYN_DROPPED, 0), (EV_SYN, SYN_REPORT, 0))

    assert line.was_muted()
    assert not line.was_muted(), "the position was read again, and is open"


def test_dropped_events_do_not_hide_the_position(node: FakeSwitchNode, line: InputLine) -> None:
    line.was_muted()
    node.muted = True

    node.give((EV_SYN, SYN_DROPPED, 0), (EV_SYN, SYN_REPORT, 0))

    assert line.was_muted()
    assert line.was_muted()


def test_a_node_that_somebody_grabbed_still_tells_its_position(
    node: FakeSwitchNode, line: InputLine
) -> None:
    line.was_muted()
    node.is_grabbed = True

    node.throw(muted=True)
    assert line.was_muted()

    node.throw(muted=False)
    assert line.was_muted()
    assert not line.was_muted()


def test_other_switches_and_keys_of_the_device_are_none_of_ours(
    node: FakeSwitchNode, line: InputLine
) -> None:
    node.give((EV_KEY, SW_MUTE_DEVICE, 1), (EV_SW, 0, 1), (EV_SYN, SYN_REPORT, 0))

    assert not line.was_muted()


def test_a_flood_of_events_does_not_keep_the_reader(node: FakeSwitchNode, line: InputLine) -> None:
    for _ in range(60):
        node.give(*[(EV_KEY, 30, 1)] * 60)

    assert not line.was_muted()


@pytest.mark.parametrize("data", [b"x", b"x" * (EVENT.size + 1)])
def test_what_is_no_event_is_an_error(node: FakeSwitchNode, line: InputLine, data: bytes) -> None:
    node.give_bytes(data)

    with pytest.raises(OSError, match="is not an input event"):
        line.was_muted()


def test_a_node_that_vanishes_is_an_error(node: FakeSwitchNode, line: InputLine) -> None:
    node.vanish()

    with pytest.raises(OSError, match="No such device"):
        line.was_muted()


def test_the_ioctls_are_the_kernels() -> None:
    asked: list[tuple[int, int]] = []

    def ioctl(node: int, number: int, length: bytes) -> bytes:
        asked.append((node, number))
        return (1 << SW_MUTE_DEVICE).to_bytes(len(length), "little")

    kernel = KernelInputNode(ioctl)

    assert kernel.has_mute(7)
    assert kernel.is_muted(7)
    assert kernel.name(7) == ""
    # As linux/input.h computes them, for buffers of 8, 8 and 256 bytes.
    assert asked == [(7, 0x80084525), (7, 0x8008451B), (7, 0x81004506)]


def test_a_file_is_no_input_node(tmp_path: Path) -> None:
    with (tmp_path / "event0").open("wb") as file, pytest.raises(OSError, match="Inappropriate"):
        KernelInputNode().is_muted(file.fileno())


class FakeDevices:
    """Nodes in a folder, known to the fake kernel by their content."""

    def name(self, node: int) -> str:
        return os.pread(node, 64, 0).decode().partition(":")[0]

    def has_mute(self, node: int) -> bool:
        content = os.pread(node, 64, 0).decode()
        if not content:
            raise OSError(errno.ENOTTY, "no input device")
        return content.endswith(":mute")

    def is_muted(self, node: int) -> bool:
        del node
        return False


def nodes(folder: Path, *contents: str) -> None:
    for number, content in enumerate(contents):
        (folder / f"event{number}").write_text(content)


def found(wanted: str, folder: Path) -> str:
    opened = open_input(wanted, folder, FakeDevices())
    try:
        return os.pread(opened.fileno(), 64, 0).decode()
    finally:
        opened.close()


def test_the_only_device_that_can_mute_is_found(tmp_path: Path) -> None:
    nodes(tmp_path, "keyboard:", "", "speaker-mute:mute", "mouse:")

    assert found("", tmp_path) == "speaker-mute:mute"


def test_a_device_is_found_by_its_name_or_its_node(tmp_path: Path) -> None:
    nodes(tmp_path, "laptop:mute", *["lid:"] * 9, "speaker-mute:mute")
    (tmp_path / "speaker-mute").symlink_to("event10")

    assert found("speaker-mute", tmp_path) == "speaker-mute:mute"
    assert found(str(tmp_path / "speaker-mute"), tmp_path) == "speaker-mute:mute"


@pytest.mark.parametrize(
    ("contents", "wanted", "said"),
    [
        ((), "", "there is no input device that can mute"),
        (("keyboard:", ""), "", "there is no input device that can mute"),
        (("a:mute", "b:mute"), "", "there is more than one input device that can mute"),
        (("a:mute",), "b", "there is no input device 'b' with a mute switch"),
        (("b:",), "b", "there is no input device 'b' with a mute switch"),
        (("b:",), "/event0", "has no mute switch"),
        (("b:mute",), "/event1", "No such file"),
    ],
)
def test_what_cannot_be_found_is_said(
    tmp_path: Path, contents: tuple[str, ...], wanted: str, said: str
) -> None:
    nodes(tmp_path, *contents)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers, not paths

    with pytest.raises(Unavailable, match=said):
        found(f"{tmp_path}{wanted}" if wanted.startswith("/") else wanted, tmp_path)

    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - numbers, not paths


def test_nodes_that_may_not_be_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "event0").symlink_to(tmp_path / "gone")

    with pytest.raises(Unavailable, match="1 of its nodes cannot be opened"):
        found("", tmp_path)
