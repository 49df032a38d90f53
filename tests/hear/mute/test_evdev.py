"""Tests of the evdev mute switch with a fake input node."""

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
    fake = FakeSwitchNode()
    yield fake
    fake.close()


@pytest.fixture
def line(node: FakeSwitchNode) -> Iterator[InputLine]:
    opened = InputLine(node.node, node)
    yield opened
    opened.close()


def test_position_at_open_is_read_without_an_event(node: FakeSwitchNode, line: InputLine) -> None:
    node.muted = True

    assert line.was_muted()
    assert line.was_muted()


def test_edges_in_both_directions_are_detected(node: FakeSwitchNode, line: InputLine) -> None:
    assert not line.was_muted()

    node.throw(muted=True)
    assert line.was_muted()
    assert line.was_muted()

    node.throw(muted=False)
    assert line.was_muted(), "it was muted since the last call"
    assert not line.was_muted()


def test_mute_and_release_between_polls_is_detected(node: FakeSwitchNode, line: InputLine) -> None:
    line.was_muted()

    node.throw(muted=True)
    node.throw(muted=False)

    assert line.was_muted()
    assert not line.was_muted()


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
@example([True, False] * 20, [])
@example([True, False] * 20, [False] * 38 + [True] * 2)
def test_fast_edges_end_in_the_last_position(throws: list[bool], polls: list[bool]) -> None:
    node = FakeSwitchNode()
    line = InputLine(node.node, node)
    try:
        was_muted = before = node.muted
        unread = 0
        for muted, is_polled in zip(throws, polls + [False] * len(throws), strict=False):
            was_muted |= before or muted
            unread += muted != before
            node.throw(muted=muted)
            before = muted
            if is_polled:
                # Edges beyond the limit of one call are left for the next.
                assert line.was_muted() is (was_muted or unread > 0)
                was_muted, unread = muted, max(0, unread - MAX_READS)
        while unread > 0:
            assert line.was_muted()
            unread -= MAX_READS
        line.was_muted()

        assert line.was_muted() is node.muted
    finally:
        line.close()
        node.close()


def test_dropped_events_count_as_a_mute(node: FakeSwitchNode, line: InputLine) -> None:
    assert not line.was_muted()

    node.send((EV_SYN, SYN_DROPPED, 0), (EV_SYN, SYN_REPORT, 0))

    assert line.was_muted()
    assert not line.was_muted(), "the position was read again and is open"


def test_dropped_events_do_not_hide_the_position(node: FakeSwitchNode, line: InputLine) -> None:
    line.was_muted()
    node.muted = True

    node.send((EV_SYN, SYN_DROPPED, 0), (EV_SYN, SYN_REPORT, 0))

    assert line.was_muted()
    assert line.was_muted()


def test_position_of_a_grabbed_node_is_read(node: FakeSwitchNode, line: InputLine) -> None:
    line.was_muted()
    node.is_grabbed = True

    node.throw(muted=True)
    assert line.was_muted()

    node.throw(muted=False)
    assert line.was_muted()
    assert not line.was_muted()


def test_other_switches_and_keys_are_ignored(node: FakeSwitchNode, line: InputLine) -> None:
    node.send((EV_KEY, SW_MUTE_DEVICE, 1), (EV_SW, 0, 1), (EV_SYN, SYN_REPORT, 0))

    assert not line.was_muted()


def test_event_flood_does_not_block_the_reader(node: FakeSwitchNode, line: InputLine) -> None:
    for _ in range(60):
        node.send(*[(EV_KEY, 30, 1)] * 60)

    assert not line.was_muted()


@pytest.mark.parametrize("data", [b"x", b"x" * (EVENT.size + 1)])
def test_invalid_event_is_an_error(node: FakeSwitchNode, line: InputLine, data: bytes) -> None:
    node.send_bytes(data)

    with pytest.raises(OSError, match="is not an input event"):
        line.was_muted()


def test_removed_node_is_an_error(node: FakeSwitchNode, line: InputLine) -> None:
    node.remove()

    with pytest.raises(OSError, match="No such device"):
        line.was_muted()


def test_ioctl_numbers_match_the_kernel_header() -> None:
    requests: list[tuple[int, int]] = []

    def ioctl(node: int, number: int, length: bytes) -> bytes:
        requests.append((node, number))
        return (1 << SW_MUTE_DEVICE).to_bytes(len(length), "little")

    kernel = KernelInputNode(ioctl)

    assert kernel.has_mute(7)
    assert kernel.is_muted(7)
    assert kernel.name(7) == ""
    # As linux/input.h computes them, for buffers of 8, 8 and 256 bytes.
    assert requests == [(7, 0x80084525), (7, 0x8008451B), (7, 0x81004506)]


def test_regular_file_is_not_an_input_node(tmp_path: Path) -> None:
    with (tmp_path / "event0").open("wb") as file, pytest.raises(OSError, match="Inappropriate"):
        KernelInputNode().is_muted(file.fileno())


class FakeDevices:
    """Nodes in a folder; the file's content is the device's name and capability."""

    def name(self, node: int) -> str:
        return os.pread(node, 64, 0).decode().partition(":")[0]

    def has_mute(self, node: int) -> bool:
        content = os.pread(node, 64, 0).decode()
        if not content:
            raise OSError(errno.ENOTTY, "not an input device")
        return content.endswith(":mute")

    def is_muted(self, node: int) -> bool:
        del node
        return False


def write_nodes(folder: Path, *contents: str) -> None:
    for number, content in enumerate(contents):
        (folder / f"event{number}").write_text(content)


def open_content(name_or_path: str, folder: Path) -> str:
    opened = open_input(name_or_path, folder, FakeDevices())
    try:
        return os.pread(opened.fileno(), 64, 0).decode()
    finally:
        opened.close()


def test_only_device_with_a_mute_switch_is_selected(tmp_path: Path) -> None:
    write_nodes(tmp_path, "keyboard:", "", "speaker-mute:mute", "mouse:")

    assert open_content("", tmp_path) == "speaker-mute:mute"


def test_device_is_selected_by_name_or_path(tmp_path: Path) -> None:
    write_nodes(tmp_path, "laptop:mute", *["lid:"] * 9, "speaker-mute:mute")
    (tmp_path / "speaker-mute").symlink_to("event10")

    assert open_content("speaker-mute", tmp_path) == "speaker-mute:mute"
    assert open_content(str(tmp_path / "speaker-mute"), tmp_path) == "speaker-mute:mute"


@pytest.mark.parametrize(
    ("contents", "name_or_path", "message"),
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
def test_missing_or_ambiguous_device_is_reported(
    tmp_path: Path, contents: tuple[str, ...], name_or_path: str, message: str
) -> None:
    write_nodes(tmp_path, *contents)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - numbers, not paths

    with pytest.raises(Unavailable, match=message):
        open_content(
            f"{tmp_path}{name_or_path}" if name_or_path.startswith("/") else name_or_path, tmp_path
        )

    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208 - numbers, not paths


def test_unreadable_nodes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "event0").symlink_to(tmp_path / "missing")

    with pytest.raises(Unavailable, match="1 of its nodes cannot be opened"):
        open_content("", tmp_path)
