"""Transport of notices from hear to send and the monitor: both ends of a Unix datagram socket.

Hear never waits for the reader: a notice without a reader is counted and lost.
"""

from pathlib import Path
from typing import Final

from listener.ipc.datagrams import MessageSocket, Outbox
from listener.ipc.notices import LONGEST_BYTES, Notice, decode, encode

SOCKET: Final = "send/notices.sock"
"""Path in the data directory, in the folder of send's user."""
MONITOR_SOCKET: Final = "monitor.sock"
"""Path in the data directory; the socket of a running monitor, see ``hear.monitor_feed``."""


class NoticeSender:
    """Hear's end. Never blocks and never raises for a slow or missing reader.

    For one thread at a time.

    Args:
        path: the socket on which send listens; it may be missing for a time.
    """

    def __init__(self, path: Path) -> None:
        self._outbox = Outbox(path)

    @property
    def dropped(self) -> int:
        """Notices that no reader received."""
        return self._outbox.dropped

    def send(self, notice: Notice) -> bool:
        """Send a notice; return whether a reader received it.

        Raises:
            ValueError: it is longer than 512 bytes.
        """
        return self._outbox.send(encode(notice))

    def close(self) -> None:
        """Close the socket."""
        self._outbox.close()


class NoticeSocket(MessageSocket[Notice]):
    """Send's end. Errors as `MessageSocket`.

    Args:
        path: the socket; in a setgid folder the folder's group may send too.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, LONGEST_BYTES, decode)
