"""Mute switch as a kernel input device: an evdev node with ``SW_MUTE_DEVICE``.

The node is opened for reading only; a process that holds it cannot drive a pin.
Source: ``linux/input.h`` and ``linux/input-event-codes.h``.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from listener.errors import Unavailable

# linux/input-event-codes.h
_EV_SYN: Final = 0x00
_SYN_DROPPED: Final = 3
_EV_SW: Final = 0x05
SW_MUTE_DEVICE: Final = 0x0E
"""Switch code; 1 means that the device is muted."""

EVENT: Final = struct.Struct("@LLHHi")
"""``struct input_event``: seconds, microseconds, type, code, value."""
_EVENTS_AT_ONCE: Final = 64
MAX_READS: Final = 16
"""Reads of one call of `InputLine.was_muted`; more events are left for the next call."""


class InputNode(Protocol):
    """The kernel's interface to an open input node."""

    def name(self, node: int) -> str:
        """Return the device's name; OSError when the node is not an input device."""

    def has_mute(self, node: int) -> bool:
        """Return whether the device has a mute switch; OSError as `name`."""

    def is_muted(self, node: int) -> bool:
        """Return whether the switch is at MUTE now; OSError as `name`."""


class KernelInputNode:
    """The ioctls of ``linux/input.h``.

    Args:
        ioctl: has the interface of ``fcntl.ioctl`` with a buffer of bytes.
    """

    def __init__(self, ioctl: Callable[[int, int, bytes], bytes] = fcntl.ioctl) -> None:
        self._ioctl = ioctl

    def name(self, node: int) -> str:
        """Read the name with EVIOCGNAME."""
        return self._read(node, 0x06, 256).split(b"\0", 1)[0].decode("utf-8", "replace")

    def has_mute(self, node: int) -> bool:
        """Read the supported switches with EVIOCGBIT(EV_SW)."""
        return _has_mute(self._read(node, 0x20 + _EV_SW, 8))

    def is_muted(self, node: int) -> bool:
        """Read the switches' positions with EVIOCGSW."""
        return _has_mute(self._read(node, 0x1B, 8))

    def _read(self, node: int, number: int, length: int) -> bytes:
        """Read ``length`` bytes with the ioctl ``_IOR('E', number, length)``."""
        request = 2 << 30 | length << 16 | ord("E") << 8 | number
        return self._ioctl(node, request, bytes(length))


class InputLine:
    """The mute switch of an input node. It owns the descriptor. One thread."""

    def __init__(self, node: int, kernel: InputNode) -> None:
        """Take over an open node.

        Args:
            node: file descriptor, opened read-only and non-blocking.
            kernel: reads the switch's position.
        """
        self._node = node
        self._kernel = kernel
        self._was_muted = False

    def fileno(self) -> int:
        """Return the node's file descriptor."""
        return self._node

    def was_muted(self) -> bool:
        """Read the pending events, then the position.

        Any edge means that the switch was at MUTE either before or after it. The position is read
        each time because opening produces no event, the kernel drops events that are not read in
        time, and a process that grabs the node receives all of them.

        Raises:
            OSError: the node is gone, or the data are not input events.
        """
        # All are read, so that none of them ends the next wait at once.
        edge = sum(self._is_edge(event) for event in self._events()) > 0
        muted = self._kernel.is_muted(self._node)
        was_muted, self._was_muted = self._was_muted, muted
        return edge or was_muted or muted

    def close(self) -> None:
        """Close the node."""
        os.close(self._node)

    def _events(self) -> Iterator[tuple[int, int, int, int, int]]:
        for _ in range(MAX_READS):
            try:
                data = os.read(self._node, _EVENTS_AT_ONCE * EVENT.size)
            except BlockingIOError:
                return
            if not data:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            if len(data) % EVENT.size:
                raise OSError(errno.EIO, "the node returned data that is not an input event")
            yield from EVENT.iter_unpack(data)

    @staticmethod
    def _is_edge(event: tuple[int, int, int, int, int]) -> bool:
        _, _, kind, code, _ = event
        return (kind, code) in {(_EV_SW, SW_MUTE_DEVICE), (_EV_SYN, _SYN_DROPPED)}


def open_input(name_or_path: str, folder: Path, kernel: InputNode) -> InputLine:
    """Open the input node of the mute switch.

    Args:
        name_or_path: a node's path, a device's name, or empty for the only device that can mute.
        folder: the folder of the nodes ``eventN``.
        kernel: reads the nodes' names and switches.

    Raises:
        Unavailable: there is no such node, it has no mute switch, or several devices match.
    """
    if name_or_path.startswith("/"):
        node = _open(Path(name_or_path))
        if not _is_match(node, "", kernel):
            os.close(node)
            raise Unavailable(f"{name_or_path} has no mute switch (EV_SW, SW_MUTE_DEVICE)")
        return InputLine(node, kernel)
    matches: list[int] = []
    unreadable = 0
    for path in sorted(folder.glob("event*"), key=lambda path: (len(path.name), path.name)):
        try:
            node = _open(path)
        except Unavailable:
            unreadable += 1
            continue
        if _is_match(node, name_or_path, kernel):
            matches.append(node)
        else:
            os.close(node)
    if len(matches) == 1:
        return InputLine(matches[0], kernel)
    for node in matches:
        os.close(node)
    device = (
        f"input device {name_or_path!r} with a mute switch"
        if name_or_path
        else "input device that can mute"
    )
    if matches:
        raise Unavailable(
            f"there is more than one {device}", "set mute.input to the path of its node"
        )
    detail = f" ({unreadable} of its nodes cannot be opened)" if unreadable else ""
    raise Unavailable(f"there is no {device} in {folder}{detail}")


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise Unavailable(f"cannot open {path}: {error.strerror}") from error


def _is_match(node: int, name: str, kernel: InputNode) -> bool:
    try:
        return kernel.has_mute(node) and (not name or kernel.name(node) == name)
    except OSError:
        return False  # not an input device


def _has_mute(bits: bytes) -> bool:
    return bool(int.from_bytes(bits, "little") >> SW_MUTE_DEVICE & 1)
