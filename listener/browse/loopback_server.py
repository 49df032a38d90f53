"""The HTTP server of ``earmark clips browse``: uvicorn on loopback, at the owner's port."""

import asyncio
import contextlib
import errno
import hashlib
import socket
import threading
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from listener.errors import Unavailable

FIRST_PORT: Final = 20_000
PORTS: Final = 10_000
"""Below the ports that the kernel gives to connections, and none that browsers refuse."""
HEADERS_LIMIT_BYTES: Final = 16 << 10
MOST_CONNECTIONS: Final = 64
_ADDRESSES: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_NO_IPV6: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_END_S: Final = 5.0


def port_of(owner: str) -> int:
    """Return the port of an owner, the same at each start: 20000 to 29999.

    A browser keeps data by origin, and the port is a part of it.
    """
    digest = hashlib.sha256(f"earmark clips browse {owner}".encode()).digest()
    return FIRST_PORT + int.from_bytes(digest[:4], "big") % PORTS


class LoopbackServer:
    """Server on 127.0.0.1 and ::1. The constructor opens the sockets, ``start`` serves.

    Args:
        port: TCP port.

    Raises:
        Unavailable: the port is in use.
    """

    def __init__(self, port: int) -> None:
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None
        try:
            # A program of another user must not get the other of the two: browsers try both.
            for family, address in _ADDRESSES:
                self._open(family, address, port)
        except BaseException:
            self._close()
            raise

    def start(self, app: ASGIApp) -> None:
        """Start serving in a thread.

        Args:
            app: the ASGI application.
        """
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADERS_LIMIT_BYTES,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(self._sockets)), name="page", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Wait briefly for open requests, then close the sockets."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_END_S)
        self._close()

    def _open(self, family: int, address: str, port: int) -> None:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            if error.errno in _NO_IPV6:
                return
            raise Unavailable(f"cannot open a socket: {error.strerror}") from error
        self._sockets.append(sock)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            sock.listen()
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                self._sockets.remove(sock)
                sock.close()
                return
            raise Unavailable(
                f"cannot listen on {address} port {port}: {error.strerror}",
                "end the other earmark clips browse, or pass another port: --port N",
            ) from error

    def _close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.close()
