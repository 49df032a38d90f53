"""Accepting of the connections that wait at a listening socket, some at a time."""

import socket
from collections.abc import Callable, Iterator
from typing import Final

MOST_AT_ONCE: Final = 64


def accept_waiting(
    listening: socket.socket, pause: Callable[[], object]
) -> Iterator[tuple[socket.socket, str]]:
    """Yield the connections that wait, at most `MOST_AT_ONCE`, with the peer's IP address.

    Args:
        listening: a listening socket that does not block. The address is empty for a Unix socket.
        pause: called where the process has no descriptor left: the socket stays readable, so the
            caller has to wait before it tries again.
    """
    for _ in range(MOST_AT_ONCE):
        try:
            sock, address = listening.accept()
        except BlockingIOError:
            return
        except ConnectionError:
            continue  # the peer has hung up already
        except OSError:
            pause()
            return
        yield sock, address[0] if isinstance(address, tuple) else ""
