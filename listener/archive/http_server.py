"""The API's sockets: one in the home, and one in the household's network where it is asked for.

uvicorn turns in a thread of its own beside the loop that takes clips. Sockets are opened before it
starts, so that what cannot be opened is said at once.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from listener.archive.api import HEADERS_LIMIT_BYTES, REQUEST_S, is_private_address
from listener.config import ArchiveSettings
from listener.errors import ConfigError, Unavailable

SOCKET: Final = "archive.sock"
MOST_CONNECTIONS: Final = 32
_END_S: Final = 5.0


class _IdleTimeoutProtocol(H11Protocol):
    """Hangs up on who connects and does not say what for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio says less of it than uvicorn, which asks for what each of asyncio's own is.
        super().connection_made(cast("asyncio.Transport", transport))
        self.loop.call_later(REQUEST_S, self._check_idle)

    def _check_idle(self) -> None:
        # No request has begun: its line and headers are still to come.
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class HttpServer:
    """What owners connect to. Opened by ``start``, shut by ``stop``.

    Args:
        app: answers.
        home: the folder in which the socket lies.
        settings: where else.

    Raises:
        ConfigError: the settings would serve strangers, or in the clear.
        Unavailable: a socket cannot be opened.
    """

    def __init__(self, app: ASGIApp, home: Path, settings: ArchiveSettings) -> None:
        self._path = home / SOCKET
        self._thread: threading.Thread | None = None
        context = _context(settings)
        self._served = [(_server(app, None), _local(self._path))]
        try:
            if settings.port:
                self._served.append((_server(app, context), _network(settings)))
        except BaseException:
            self._close()
            raise

    def start(self) -> None:
        """Begin to answer."""
        self._thread = threading.Thread(target=self._turn, name="api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let requests end for a moment, then shut everything."""
        for server, _ in self._served:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(_END_S)
        self._close()

    def _turn(self) -> None:
        async def serve() -> None:
            await asyncio.gather(*(server.serve([wire]) for server, wire in self._served))

        asyncio.run(serve())

    def _close(self) -> None:
        for _, wire in self._served:
            wire.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def _server(app: ASGIApp, context: ssl.SSLContext | None) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_IdleTimeoutProtocol,
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
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
    )


def _context(settings: ArchiveSettings) -> ssl.SSLContext | None:
    if not settings.port:
        return None
    if not is_private_address(settings.host) or settings.host.startswith("/"):
        raise ConfigError(
            f"archive.host {settings.host} is no address of this machine or a private network",
            "name the address by which the household reaches this machine",
        )
    if settings.certificate_file is None:
        if settings.host not in {"127.0.0.1", "::1"}:
            raise ConfigError(
                "archive.host is in the network, and there is no archive.certificate_file",
                "earmark household init makes one",
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "not what it should be"
        raise ConfigError(
            f"the archive's certificate cannot be used: {reason}",
            "look at archive.certificate_file and archive.key_file",
        ) from error
    return context


def _local(path: Path) -> socket.socket:
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # one archive runs on a home, so this is a dead one's
        mask = os.umask(0o177)
        try:
            wire.bind(str(path))
        finally:
            os.umask(mask)
        wire.listen(MOST_CONNECTIONS)
    except OSError as error:
        wire.close()
        raise Unavailable(
            f"cannot open {path}: {error.strerror or error}",
            "a path of more than 107 bytes is too long for a socket: choose a shorter --home",
        ) from error
    return wire


def _network(settings: ArchiveSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    wire = socket.socket(family, socket.SOCK_STREAM)
    try:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wire.bind((settings.host, settings.port))
        wire.listen(MOST_CONNECTIONS)
    except OSError as error:
        wire.close()
        taken = error.errno == errno.EADDRINUSE
        raise Unavailable(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            "something else listens there: choose another archive.port" if taken else "",
        ) from error
    return wire
