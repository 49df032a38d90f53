"""How notices cross the border from hear to send: a Unix datagram socket, and its two ends.

Whoever hears never waits for whoever sends: a notice that nobody takes is counted and gone.
"""

from pathlib import Path
from typing import Final

from listener.ipc.datagrams import MessageSocket, Outbox
from listener.ipc.notices import LONGEST_BYTES, Notice, decode, encode

SOCKET: Final = "send/notices.sock"
"""In the home, in the folder that belongs to whoever sends."""
MONITOR_SOCKET: Final = "monitor.sock"
"""In the home; a monitor listens on it while somebody watches, see `hear.watching`."""


class NoticeSender:
    """Hear's end. It never blocks and never raises for a listener that is slow or absent.

    Not for use by several threads at once.

    Args:
        path: of the socket that send listens on; it may come and go.
    """

    def __init__(self, path: Path) -> None:
        self._outbox = Outbox(path)

    @property
    def dropped(self) -> int:
        """Notices that nobody took."""
        return self._outbox.dropped

    def send(self, notice: Notice) -> bool:
        """Hand over a notice; say whether anybody took it.

        Raises:
            ValueError: it is longer than 512 bytes.
        """
        return self._outbox.send(encode(notice))

    def close(self) -> None:
        """Let go of the socket."""
        self._outbox.close()


class NoticeSocket(MessageSocket[Notice]):
    """Send's end: where notices come in. Errors as `MessageSocket`.

    Args:
        path: where; in a folder that is shared, see `belonging`, its group may speak too.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, LONGEST_BYTES, decode)
