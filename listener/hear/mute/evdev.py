"""The line that the kernel calls a mute switch: an input node with ``SW_MUTE_DEVICE`` (evdev).

It needs no more than to be read: no pin of the machine can be driven through it.
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
"""Set: the device is disabled."""

EVENT: Final = struct.Struct("@LLHHi")
"""``struct input_event``: seconds, microseconds, type, code, value."""
_EVENTS_AT_ONCE: Final = 64
MOST_READS: Final = 16  # a line that chatters faster than this is asked again next time


class InputNode(Protocol):
    """What the kernel tells about an open input node."""

    def name(self, node: int) -> str:
        """Return what the device calls itself; OSError when the node is no input device."""

    def has_mute(self, node: int) -> bool:
        """Tell whether the device has a mute switch; OSError as before."""

    def is_muted(self, node: int) -> bool:
        """Tell in which position it is now; OSError as before."""


class KernelInputNode:
    """The ioctls of ``linux/input.h``.

    Args:
        ioctl: as ``fcntl.ioctl`` with a buffer of bytes.
    """

    def __init__(self, ioctl: Callable[[int, int, bytes], bytes] = fcntl.ioctl) -> None:
        self._ioctl = ioctl

    def name(self, node: int) -> str:
        """Ask by EVIOCGNAME."""
        return self._ask(node, 0x06, 256).split(b"\0", 1)[0].decode("utf-8", "replace")

    def has_mute(self, node: int) -> bool:
        """Ask by EVIOCGBIT(EV_SW)."""
        return _has_mute(self._ask(node, 0x20 + _EV_SW, 8))

    def is_muted(self, node: int) -> bool:
        """Ask by EVIOCGSW."""
        return _has_mute(self._ask(node, 0x1B, 8))

    def _ask(self, node: int, number: int, length: int) -> bytes:
        """Read ``length`` bytes by ``_IOR('E', number, length)``."""
        read = 2 << 30 | length << 16 | ord("E") << 8 | number
        return self._ioctl(node, read, bytes(length))


class InputLine:
    """The mute switch of an input node. Its descriptor is closed with it."""

    def __init__(self, node: int, kernel: InputNode) -> None:
        """Take over an open node.

        Args:
            node: opened for reading only, without blocking.
            kernel: tells the switch's position.
        """
        self._node = node
        self._kernel = kernel
        self._was_muted = False

    def fileno(self) -> int:
        """Return the node."""
        return self._node

    def was_muted(self) -> bool:
        """Take the events that wait, then ask for the position.

        Any edge means that it was shut: before it or after it. The position is asked for each
        time, since at opening there is no event, the kernel drops events that are not fetched in
        time, and another process that grabs the node gets them all.
        """
        # All of them are taken, so that none is left to wake the next wait.
        edge = sum(self._is_edge(event) for event in self._events()) > 0
        muted = self._kernel.is_muted(self._node)
        was_muted, self._was_muted = self._was_muted, muted
        return edge or was_muted or muted

    def close(self) -> None:
        """Close the node."""
        os.close(self._node)

    def _events(self) -> Iterator[tuple[int, int, int, int, int]]:
        for _ in range(MOST_READS):
            try:
                data = os.read(self._node, _EVENTS_AT_ONCE * EVENT.size)
            except BlockingIOError:
                return
            if not data:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            if len(data) % EVENT.size:
                raise OSError(errno.EIO, "the node gives something else than input events")
            yield from EVENT.iter_unpack(data)

    @staticmethod
    def _is_edge(event: tuple[int, int, int, int, int]) -> bool:
        _, _, kind, code, _ = event
        return (kind, code) in {(_EV_SW, SW_MUTE_DEVICE), (_EV_SYN, _SYN_DROPPED)}


def open_input(wanted: str, folder: Path, kernel: InputNode) -> InputLine:
    """Open the input node of the mute switch.

    Args:
        wanted: a node's path, a device's name, or an empty string for the only one that can mute.
        folder: where the nodes ``eventN`` are.
        kernel: what they are asked through.

    Raises:
        Unavailable: it is not there, it is no mute switch, or there are several to choose from.
        OSError: the kernel took it away meanwhile.
    """
    if wanted.startswith("/"):
        node = _open(Path(wanted))
        if not _is_meant(node, "", kernel):
            os.close(node)
            raise Unavailable(f"{wanted} has no mute switch (EV_SW, SW_MUTE_DEVICE)")
        return InputLine(node, kernel)
    found: list[int] = []
    denied = 0
    for path in sorted(folder.glob("event*"), key=lambda path: (len(path.name), path.name)):
        try:
            node = _open(path)
        except Unavailable:
            denied += 1
            continue
        if _is_meant(node, wanted, kernel):
            found.append(node)
        else:
            os.close(node)
    if len(found) == 1:
        return InputLine(found[0], kernel)
    for node in found:
        os.close(node)
    what = f"input device {wanted!r} with a mute switch" if wanted else "input device that can mute"
    if found:
        raise Unavailable(
            f"there is more than one {what}", "mute.input names the one that is meant, or its node"
        )
    may = f"; {denied} of its nodes may not be read" if denied else ""
    raise Unavailable(f"there is no {what} in {folder}{may}")


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise Unavailable(f"cannot open {path}: {error.strerror}") from error


def _is_meant(node: int, name: str, kernel: InputNode) -> bool:
    try:
        return kernel.has_mute(node) and (not name or kernel.name(node) == name)
    except OSError:
        return False  # no input device


def _has_mute(bits: bytes) -> bool:
    return bool(int.from_bytes(bits, "little") >> SW_MUTE_DEVICE & 1)
