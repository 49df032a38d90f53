"""Fake input node with a mute switch."""

import errno
import socket

from listener.hear.mute.evdev import EVENT, SW_MUTE_DEVICE

EV_SYN, EV_KEY, EV_SW = 0, 1, 5
SYN_REPORT, SYN_DROPPED = 0, 3


class FakeSwitchNode:
    """An input node backed by a socket: data sent to it is read as events."""

    def __init__(self) -> None:
        self.muted = False
        self.is_removed = False
        self.is_grabbed = False
        self._kernel, node = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._kernel.settimeout(0)
        node.settimeout(0)
        self.node = node.detach()

    def name(self, node: int) -> str:
        del node
        return "speaker-mute"

    def has_mute(self, node: int) -> bool:
        del node
        return True

    def is_muted(self, node: int) -> bool:
        del node
        if self.is_removed:
            raise OSError(errno.ENODEV, "No such device")
        return self.muted

    def throw(self, *, muted: bool) -> None:
        """Move the switch; the reader gets an event unless another process grabbed the node."""
        if muted != self.muted:
            self.muted = muted
            if not self.is_grabbed:
                self.send((EV_SW, SW_MUTE_DEVICE, int(muted)), (EV_SYN, SYN_REPORT, 0))

    def send(self, *events: tuple[int, int, int]) -> None:
        self._kernel.send(b"".join(EVENT.pack(1, 2, *event) for event in events))

    def send_bytes(self, data: bytes) -> None:
        self._kernel.send(data)

    def remove(self) -> None:
        self.is_removed = True
        self._kernel.close()

    def close(self) -> None:
        self._kernel.close()
