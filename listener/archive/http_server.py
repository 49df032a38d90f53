"""The HTTP server of the archive: uvicorn on a Unix socket and, if configured, on TLS.

uvicorn runs in a thread of its own beside the receive loop. The sockets are opened before it
starts, so that a socket that cannot be opened is reported at once.

uvicorn parses requests; the connections are accepted here. Each socket has a bounded table of
connections of its own: connections on the network use no place of the local socket, and neither
uses the descriptors of the store and the index. Every state of a connection has a time limit.
"""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from listener.archive.api import HEADERS_LIMIT_BYTES, NOTE_PROOF, REQUEST_S, is_private_address
from listener.archive.http_protocol import JsonErrorProtocol
from listener.archive.request_queue import RequestQueue
from listener.archive.tls_protocol import TlsServerProtocol
from listener.config import ArchiveSettings
from listener.errors import ConfigError, Unavailable
from listener.system.accept import accept_waiting
from listener.system.connection_table import ConnectionLimits, ConnectionTable, Phase

SOCKET: Final = "archive.sock"
SILENT_LIMITS: Final = ConnectionLimits(
    most=128, most_per_peer=64, most_per_network=64, grace_s=0.0
)
"""Of network connections that have sent nothing yet; a client's first bytes follow at once."""
NETWORK_LIMITS: Final = ConnectionLimits(
    most=64, most_per_peer=8, most_per_network=32, grace_s=0.25
)
LOCAL_LIMITS: Final = ConnectionLimits(most=32, most_per_peer=32, most_per_network=32, grace_s=0.5)
PROXY_LIMITS: Final = ConnectionLimits(
    most=256, most_per_peer=256, most_per_network=256, grace_s=0.25
)
"""Of the connections of the trusted proxy, which limits its own clients."""
RESERVED_DESCRIPTORS: Final = 200
"""Descriptors for everything but connections: store, index, log, roster, broker."""
MOST_DESCRIPTORS: Final = RESERVED_DESCRIPTORS + 2 * (
    SILENT_LIMITS.most + NETWORK_LIMITS.most + LOCAL_LIMITS.most
)
"""Descriptors that the process may need: each connection may have one that is being closed."""
PROXY_DESCRIPTORS: Final = 2 * (SILENT_LIMITS.most + PROXY_LIMITS.most)
"""The same for the port of a trusted proxy, where there is one."""

HANDSHAKE_S: Final = 5.0
UNREAD_S: Final = 10.0
"""Time for which a client without a proof may leave a response unread."""
UNREAD_PROVEN_S: Final = 30.0
"""The same for an owner's client; ``api.ChunkedResponse`` limits a long response too."""
CLOSING_S: Final = 30.0
"""Time for the rest of the last response."""
_BACKLOG: Final = 4096
_SEND_BUFFER_BYTES: Final = 256 << 10
_PAUSE_S: Final = 1.0
_PROBE_S: Final = 0.25
"""Interval at which the delay of the event loop is measured."""
_DELAY_KEPT: Final = 0.8
"""Part of a delay that the next value is at least: a single late turn counts for about 2 s."""
_END_S: Final = 5.0
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_IS_PROVEN: Final = "earmark.is_proven"
_TURN: Final = "earmark.turn"


def socket_name(instance: int) -> str:
    """Return the name of the Unix socket of an archive process, in its home."""
    return f"archive-{instance}.sock" if instance else SOCKET


class HttpServer:
    """Server of the API. The constructor opens the sockets, ``start`` serves, ``stop`` closes them.

    Args:
        app: the ASGI application.
        home: folder of the Unix socket.
        settings: address and certificate of the TLS socket.
        app_for_proxy: the ASGI application for the trusted proxy; by default ``app``.

    Raises:
        ConfigError: the address is public, or a network address has no certificate.
        Unavailable: a socket cannot be opened.
    """

    def __init__(
        self,
        app: ASGIApp,
        home: Path,
        settings: ArchiveSettings,
        app_for_proxy: ASGIApp | None = None,
    ) -> None:
        self._path = home / socket_name(settings.instance)
        self._thread: threading.Thread | None = None
        context = _tls_context(settings)
        proxy_context = _proxy_context(settings)
        self._endpoints = [_Endpoint(app, _open_unix_socket(self._path), None, LOCAL_LIMITS)]
        try:
            if settings.port:
                sock = _open_tcp_socket(settings.host, settings.port)
                self._endpoints.append(_Endpoint(app, sock, context, NETWORK_LIMITS))
            if proxy_context is not None:
                sock = _open_tcp_socket(settings.host, settings.proxy_port)
                endpoint = _ProxyEndpoint(app_for_proxy or app, sock, proxy_context, PROXY_LIMITS)
                self._endpoints.append(endpoint)
        except BaseException:
            self._close()
            raise

    def start(self) -> None:
        """Start serving in a thread."""
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait briefly for open requests, then close the sockets."""
        for endpoint in self._endpoints:
            endpoint.server.should_exit = True
        if self._thread is not None:
            self._thread.join(_END_S)
        self._close()

    def counts(self) -> dict[str, int]:
        """Return the counts of the last socket since the start, in words; safe for any thread.

        Those of the proxy's socket are its own affair, and are not among them.
        """
        counted = [one for one in self._endpoints if not isinstance(one, _ProxyEndpoint)]
        return counted[-1].counts()

    def _run(self) -> None:
        async def serve() -> None:
            await asyncio.gather(*(endpoint.serve() for endpoint in self._endpoints))

        asyncio.run(serve())

    def _close(self) -> None:
        for endpoint in self._endpoints:
            endpoint.socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


class _Endpoint:
    """One listening socket with its connections. For the event loop's thread.

    Args:
        app: the ASGI application.
        sock: the listening socket.
        context: of TLS; None for a Unix socket, and for TCP on loopback.
        limits: of the connections.
    """

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        limits: ConnectionLimits,
    ) -> None:
        self.socket = sock
        self._context = context
        self._is_local = sock.family == socket.AF_UNIX
        self._silent: ConnectionTable[_SilentConnection] = ConnectionTable(
            SILENT_LIMITS, time.monotonic
        )
        self._table: ConnectionTable[_HttpConnection] = ConnectionTable(limits, time.monotonic)
        self._queue = RequestQueue(time.monotonic)
        self._tasks: set[asyncio.Task[None]] = set()
        self._timed_out = 0
        self.server = _server(app if self._is_local else self._paced(app))
        sock.settimeout(0)

    def counts(self) -> dict[str, int]:
        """Return the counts since the start, in words."""
        return {
            "connections refused": self._silent.refused + self._table.refused,
            "connections closed in favour of others": self._silent.evicted + self._table.evicted,
            "connections that failed or were too slow": self._timed_out,
            "requests delayed": self._queue.delayed,
        }

    async def serve(self) -> None:
        """Serve until ``server.should_exit``, then close every connection."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.socket, self._accept_waiting)
        tasks = (
            loop.create_task(self._close_late_connections()),
            loop.create_task(self._measure_delay()),
        )
        try:
            await self.server.serve([])  # without sockets: its ticks and its orderly end
        finally:
            loop.remove_reader(self.socket)
            for task in tasks:
                task.cancel()
            for silent in self._silent:
                silent.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept_waiting(self) -> None:
        for sock, address in accept_waiting(self.socket, self._pause_accepting):
            if self._is_local:
                self._admit(sock, "")
            else:
                self._await_first_bytes(sock, address)

    def _await_first_bytes(self, sock: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        connection = _SilentConnection(sock, time.monotonic(), loop)
        if not self._silent.admit(address, connection):
            connection.close()
            return

        def go_on() -> None:
            self._silent.release(connection)
            loop.remove_reader(sock)
            self._admit(sock, address)

        loop.add_reader(sock, go_on)

    def _pause_accepting(self) -> None:
        # Out of descriptors or kernel memory: the socket stays readable, and must not spin.
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.socket)
        if not self.server.should_exit:
            loop.call_later(_PAUSE_S, self._resume_accepting)

    def _resume_accepting(self) -> None:
        if not self.server.should_exit and self.socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self.socket, self._accept_waiting)

    def _admit(self, sock: socket.socket, address: str) -> None:
        connection = _HttpConnection(self.server, time.monotonic())
        if not self._table.admit(address, connection):
            _reset(sock)
            return
        serving = asyncio.get_running_loop().create_task(self._serve(sock, connection))
        connection.task = serving
        self._tasks.add(serving)

        def end(_: object) -> None:
            self._tasks.discard(serving)
            self._table.release(connection)
            sock.close()  # also if the task was cancelled before it began

        serving.add_done_callback(end)

    async def _serve(self, sock: socket.socket, connection: "_HttpConnection") -> None:
        outer = (
            connection if self._context is None else TlsServerProtocol(self._context, connection)
        )
        try:
            connection.raw, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: outer, sock
            )
            await connection.lost.wait()
            if not connection.is_established:
                self._timed_out += 1  # the handshake failed
        finally:
            connection.abort()

    async def _close_late_connections(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_S)
            now_s = time.monotonic()
            for silent in self._silent:
                if now_s - silent.since_s > HANDSHAKE_S:
                    self._timed_out += 1
                    self._silent.release(silent)
                    silent.close()
            for connection in self._table:
                if connection.is_late(now_s):
                    self._timed_out += 1
                    connection.close()

    async def _measure_delay(self) -> None:
        """Tell the table how late the event loop is, without an end.

        Silent connections get no longer: a client's first bytes are there when it is accepted.
        """
        delay_s = 0.0
        while True:
            due_s = time.monotonic() + _PROBE_S
            await asyncio.sleep(_PROBE_S)
            delay_s = max(time.monotonic() - due_s, _DELAY_KEPT * delay_s)
            self._table.note_delay(delay_s)

    def _paced(self, app: ASGIApp) -> ASGIApp:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            address = (scope.get("client") or ("",))[0]
            loop = asyncio.get_running_loop()
            turn = scope[_TURN] = self._queue.enter(address)
            try:
                await turn
            except asyncio.CancelledError:
                return  # the client has disconnected, or the server stops
            self._table.note_request(address)

            def note_proof() -> None:
                scope[_IS_PROVEN] = True
                # From a worker thread.
                loop.call_soon_threadsafe(self._silent.note_proof, address)
                loop.call_soon_threadsafe(self._table.note_proof, address)
                loop.call_soon_threadsafe(self._queue.note_proof, address)

            scope[NOTE_PROOF] = note_proof
            await app(scope, receive, send)

        return run


class _ProxyEndpoint(_Endpoint):
    """The port of the trusted proxy. Only a client with its certificate completes the handshake.

    What a request says about its origin is not read: who the proxy's client is does not matter,
    because each request is proven by its owner's key. Requests are not paced by address, since all
    have the proxy's.
    """

    def _paced(self, app: ASGIApp) -> ASGIApp:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            scope["client"] = None
            await app(scope, receive, send)

        return run


class _SilentConnection:
    """A connection whose peer has sent nothing yet; see `TableEntry`."""

    phase = Phase.IDLE

    def __init__(self, sock: socket.socket, now_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.since_s = now_s
        self._socket = sock
        self._loop = loop

    def close(self) -> None:
        """Close the connection at once."""
        self._loop.remove_reader(self._socket)
        _reset(self._socket)


class _HttpConnection(JsonErrorProtocol):
    """uvicorn's protocol with a limit for the time in each state; see `TableEntry`."""

    def __init__(self, server: uvicorn.Server, now_s: float) -> None:
        super().__init__(server.config, server.server_state, app_state={})
        self.since_s = now_s
        self.lost = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.raw: asyncio.Transport | None = None
        """Transport of the socket; below TLS, if there is TLS."""
        self._opened: asyncio.Transport | None = None
        self._unread_since_s: float | None = None
        self._closing_since_s: float | None = None

    @property
    def _request(self) -> RequestResponseCycle | None:
        return self.cycle  # uvicorn's annotation omits None

    @property
    def phase(self) -> Phase:
        """What the connection is doing."""
        request = self._request
        if request is None or request.response_complete or request.more_body:
            return Phase.IDLE
        return Phase.PROVEN if _IS_PROVEN in request.scope else Phase.BUSY

    def close(self) -> None:
        """Close the connection at once."""
        if self.task is not None:
            self.task.cancel()

    def abort(self) -> None:
        """Free the socket without waiting for the peer."""
        if self.raw is not None:
            self.raw.abort()

    @property
    def is_established(self) -> bool:
        """Whether the TLS handshake, if there is one, was completed."""
        return self._opened is not None

    def is_late(self, now_s: float) -> bool:
        """Return whether the connection has been in its state for too long."""
        if self._opened is None:
            return now_s - self.since_s > HANDSHAKE_S
        if self._opened.is_closing():
            if self._closing_since_s is None:
                self._closing_since_s = now_s
            return now_s - self._closing_since_s > CLOSING_S
        phase = self.phase
        if self._unread_since_s is not None:
            limit_s = UNREAD_PROVEN_S if phase is Phase.PROVEN else UNREAD_S
            return now_s - self._unread_since_s > limit_s
        if phase is not Phase.IDLE:
            return False
        # The body's own limit begins after the headers, and is answered with 408.
        is_body = self._request is not None and not self._request.response_complete
        return now_s - self.since_s > (2 * REQUEST_S + _PAUSE_S if is_body else REQUEST_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio's annotation is wider than uvicorn's; asyncio passes a Transport.
        self._opened = cast("asyncio.Transport", transport)
        super().connection_made(self._opened)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._opened is not None:
            super().connection_lost(exc)
        turn = cast("dict[str, object]", self._request.scope).get(_TURN) if self._request else None
        if isinstance(turn, asyncio.Future):
            turn.cancel()
        self.lost.set()

    def on_response_complete(self) -> None:
        self.since_s = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._unread_since_s = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since_s = None
        super().resume_writing()


def _reset(sock: socket.socket) -> None:
    """Close a connection without leaving anything in the kernel."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    sock.close()


def _server(app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=_HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=HEADERS_LIMIT_BYTES,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    config.load()
    return uvicorn.Server(config)


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
    return _server_context(settings)


def _server_context(settings: ArchiveSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(settings.certificate_file or "", settings.key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or "it is not a certificate with its key"
        raise ConfigError(
            f"cannot load the archive's certificate {settings.certificate_file}: {reason}",
            "check archive.certificate_file and archive.key_file",
        ) from error
    return context


def _proxy_context(settings: ArchiveSettings) -> ssl.SSLContext | None:
    """Return the TLS context that accepts the proxy's certificate and no other; None without one.

    Raises:
        ConfigError: a file is missing or invalid, or a setting is missing.
    """
    if not settings.proxy_port:
        return None
    if settings.proxy_certificate_file is None or settings.certificate_file is None:
        raise ConfigError(
            "archive.proxy_port needs archive.proxy_certificate_file and archive.certificate_file",
            "set both: earmark household add-service proxy creates the proxy's certificate",
        )
    context = _server_context(settings)
    # The certificate itself is the anchor: another one of the same authority does not verify.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=settings.proxy_certificate_file)
    except (OSError, ssl.SSLError) as error:
        is_file = isinstance(error, ssl.SSLError)
        reason = "it is not a certificate" if is_file else error.strerror
        raise ConfigError(
            f"cannot load the proxy's certificate {settings.proxy_certificate_file}: {reason}",
            "check archive.proxy_certificate_file",
        ) from error
    if any(context.get_ca_certs()):
        # It would let every member of the household in.
        raise ConfigError(
            f"{settings.proxy_certificate_file} is the certificate of an authority",
            "set archive.proxy_certificate_file to the proxy's own certificate",
        )
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
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise Unavailable(
            f"cannot open {path}: {error.strerror or error}",
            "a socket's path has at most 107 bytes; choose a shorter --home if it is longer",
        ) from error
    return sock


def _open_tcp_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it: kernel memory counts as this process's.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        is_in_use = error.errno == errno.EADDRINUSE
        raise Unavailable(
            f"cannot listen on {host} port {port}: {error.strerror}",
            "another program uses this port; choose another archive.port" if is_in_use else "",
        ) from error
    return sock
