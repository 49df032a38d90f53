"""The HTTP server of the archive: uvicorn on a Unix socket and, if configured, on TLS.

uvicorn runs in a thread of its own beside the receive loop. The sockets are opened before it
starts, so that a socket that cannot be opened is reported at once.
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

from listener.archive.api import HEADERS_LIMIT_BYTES, REQUEST_S, is_private_address
from listener.archive.http_protocol import JsonErrorProtocol
from listener.config import ArchiveSettings
from listener.errors import ConfigError, Unavailable

SOCKET: Final = "archive.sock"
MOST_CONNECTIONS: Final = 32
_END_S: Final = 5.0


class _IdleTimeoutProtocol(JsonErrorProtocol):
    """Closes a connection on which no request arrives in time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's annotation is wider than uvicorn's; asyncio passes a Transport.
        super().connection_made(cast("asyncio.Transport", transport))
        self.loop.call_later(REQUEST_S, self._check_idle)

    def _check_idle(self) -> None:
        # No request has begun: its request line and headers have not arrived.
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class HttpServer:
    """Server of the API. The constructor opens the sockets, ``start`` serves, ``stop`` closes them.

    Args:
        app: the ASGI application.
        home: folder of the Unix socket.
        settings: address and certificate of the TLS socket.

    Raises:
        ConfigError: the address is public, or a network address has no certificate.
        Unavailable: a socket cannot be opened.
    """

    def __init__(self, app: ASGIApp, home: Path, settings: ArchiveSettings) -> None:
        self._path = home / SOCKET
        self._thread: threading.Thread | None = None
        context = _tls_context(settings)
        self._servers = [(_server(app, None), _open_unix_socket(self._path))]
        try:
            if settings.port:
                self._servers.append((_server(app, context), _open_tcp_socket(settings)))
        except BaseException:
            self._close()
            raise

    def start(self) -> None:
        """Start serving in a thread."""
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait briefly for open requests, then close the sockets."""
        for server, _ in self._servers:
            server.should_exit = True
        if self._thread is not None:
            self._thread.join(_END_S)
        self._close()

    def _run(self) -> None:
        async def serve() -> None:
            await asyncio.gather(*(server.serve([sock]) for server, sock in self._servers))

        asyncio.run(serve())

    def _close(self) -> None:
        for _, sock in self._servers:
            sock.close()
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


def _tls_context(settings: ArchiveSettings) -> ssl.SSLContext | None:
    if not settings.port:
        return None
    if not is_private_address(settings.host) or settings.host.startswith("/"):
        raise ConfigError(
            f"archive.host {settings.host} is not an address of loopback or a private network",
            "set archive.host to this machine's address in the household's network",
        )
    if settings.certificate_file is None:
        if settings.host not in {"127.0.0.1", "::1"}:
            raise ConfigError(
                "archive.host is a network address, but archive.certificate_file is not set",
                "create a certificate: earmark household init",
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "it is not a certificate with its key"
        raise ConfigError(
            f"cannot load the archive's certificate {settings.certificate_file}: {reason}",
            "check archive.certificate_file and archive.key_file",
        ) from error
    return context


def _open_unix_socket(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # one archive runs on a home, so this socket is left over
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(MOST_CONNECTIONS)
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"cannot open {path}: {error.strerror or error}",
            "a socket's path has at most 107 bytes; choose a shorter --home if it is longer",
        ) from error
    return sock


def _open_tcp_socket(settings: ArchiveSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((settings.host, settings.port))
        sock.listen(MOST_CONNECTIONS)
    except OSError as error:
        sock.close()
        is_in_use = error.errno == errno.EADDRINUSE
        raise Unavailable(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            "another program uses this port; choose another archive.port" if is_in_use else "",
        ) from error
    return sock
