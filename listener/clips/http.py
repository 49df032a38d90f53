"""The HTTP client for the archive: TLS 1.3 with the household's certificate authority, or a socket.

The server is untrusted: every response is bounded in size and in time, or raises ``Unavailable``.
It uses ``http.client``, with one request a connection and no redirects, cookies or proxies.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from listener.errors import ConfigError, Unavailable, UsageError

CONNECT_S: Final = 10.0
CROWDED_PAUSES_S: Final = (0.1, 0.2, 0.4, 0.8)
"""Pauses before another attempt, when the server closed the connection at once."""
PORT: Final = 443
SMALL_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 64 << 10
SLOWEST_BYTES_A_S: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Address:
    """Address of an archive."""

    text: str
    """The address as given on the command line, for messages."""
    connect: Callable[[], http.client.HTTPConnection]
    """Creates a connection, not yet open."""


def https_address(host: str, port: int) -> str:
    """Return the address of an archive at a host name or an IP address."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def parse_address(text: str, ca: Path | None) -> Address:
    """Parse ``https://host[:port]``, or the path of a socket, with or without ``unix:``.

    Args:
        text: the address.
        ca: certificate of the household's authority, the only one trusted.

    Raises:
        UsageError: the address is malformed, or ``ca`` is missing for HTTPS.
        ConfigError: ``ca`` is not a certificate.
    """
    if text.startswith(("/", "unix:")):
        path = text.removeprefix("unix:")
        return Address(text, lambda: _UnixConnection(path))
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host = port = url = None
    if url is None or not host or url.scheme != "https" or url.path not in {"", "/"} or url.query:
        raise UsageError(
            f"{text!r} is not an address of an archive",
            "pass https://HOST:PORT or the path of its socket; plain HTTP is not supported",
        )
    if ca is None:
        raise UsageError(
            "no certificate authority is configured to verify the archive",
            "pass --ca FILE, or join the household: earmark household join",
        )
    context = _tls_context(ca)
    return Address(
        text,
        lambda: http.client.HTTPSConnection(host, port or PORT, timeout=CONNECT_S, context=context),
    )


_NOT_HTTP: Final = "did not answer in HTTP"
_PORT_HINT: Final = "check that the port is archive.port of the archive, and not the broker's"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("archive", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_S)
        try:
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _tls_context(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        reason = (
            error.strerror if not isinstance(error, ssl.SSLError) else "it is not a certificate"
        )
        raise ConfigError(
            f"cannot load the certificate authority {ca}: {reason}",
            "pass the household's ca.crt, which earmark household join stores",
        ) from error
    return context


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of a request, in seconds."""

    head_s: float = 60.0
    """Until the head of the response is complete."""
    body_s: float = 300.0
    """For the body, besides one second for each ``SLOWEST_BYTES_A_S``."""
    work_s: float = 1800.0
    """Instead of ``head_s``, where the archive may have to erase or verify 100,000 clips."""


class HttpResponse:
    """A response whose body is read on demand. A context manager; for one thread."""

    def __init__(
        self, where: str, connection: http.client.HTTPConnection, timeouts: Timeouts
    ) -> None:
        self._where = where
        self._connection = connection
        self._timeouts = timeouts
        self._deadline: _Deadline | None = None
        self._response: http.client.HTTPResponse | None = None
        self.status = 0
        self.kind = ""
        """The media type, without parameters."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._deadline is not None:
            self._deadline.stop()
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None, kind: str) -> None:
        """Send the request and read the head of the response.

        Raises:
            Unavailable: no server answers, or not in HTTP, or not in time.
        """
        # Accept tells the archive that this client takes tickets of any length.
        headers = {"connection": "close", "accept-encoding": "identity", "accept": "*/*"}
        if body is not None:
            headers["content-type"] = kind
        try:
            self._connect()
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"the server at {self._where} is not this household's archive",
                "check --ca, and that its certificate names this host",
            ) from error
        except OSError as error:
            # A server without TLS answers the handshake in its own way, or closes the connection.
            is_other = isinstance(error, ssl.SSLError | ConnectionResetError)
            raise Unavailable(
                f"cannot connect to the archive at {self._where}: {error.strerror or error}",
                _PORT_HINT if is_other else "run earmark archive serve there, or check --archive",
            ) from error
        try:
            sock: socket.socket = self._connection.sock
            self._deadline = _Deadline(sock, self._timeouts.head_s)
            # The deadline ends a slow response; the socket's timeout ends a silent one.
            sock.settimeout(max(self._timeouts.head_s, self._timeouts.body_s))
            self._connection.request(method, path, body, headers)
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._error(_NOT_HTTP, error) from error
        self._deadline.extend(self._timeouts.body_s)
        self.status = self._response.status
        self.kind = (self._response.getheader("content-type") or "").partition(";")[0].strip()

    def _connect(self) -> None:
        """Connect; try again while the archive has no free place and closes the connection."""
        for pause_s in CROWDED_PAUSES_S:
            try:
                self._connection.connect()
            except (ConnectionResetError, ssl.SSLEOFError):
                self._connection.close()
                time.sleep(pause_s)
            else:
                return
        self._connection.connect()

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the whole body in pieces, or raise.

        Args:
            most_bytes: limit of its size; a longer body is refused before it is buffered.

        Raises:
            Unavailable: the body is incomplete, too long or too slow.
        """
        response, deadline = self._response, self._deadline
        if response is None or deadline is None:
            raise self._error("got no request")
        length, received = response.length, 0
        if length is not None and length > most_bytes:
            raise self._error(f"sent more than {most_bytes} bytes")
        while length is None or received < length:
            most = PIECE_BYTES if length is None else min(PIECE_BYTES, length - received)
            try:
                piece = response.read1(most)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._error("closed the connection early", error) from error
            if not piece:
                break
            received += len(piece)
            if received > most_bytes:
                raise self._error(f"sent more than {most_bytes} bytes")
            deadline.extend(self._timeouts.body_s + received / SLOWEST_BYTES_A_S)
            yield piece
        if deadline.is_over or (length is not None and received < length):
            raise self._error("closed the connection early")

    def body(self, most_bytes: int = SMALL_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Unavailable: as for ``pieces``.
        """
        body = bytearray()
        for piece in self.pieces(most_bytes):
            body += piece
        return bytes(body)

    def _error(self, event: str, cause: Exception | None = None) -> Unavailable:
        # For a silent server the socket's timeout may end before the deadline.
        if isinstance(cause, TimeoutError) or (
            self._deadline is not None and self._deadline.is_over
        ):
            event = "did not answer in time"
        hint = "try again later"
        if event == _NOT_HTTP:
            hint = _PORT_HINT
        return Unavailable(f"the archive at {self._where} {event}", hint)


class HttpClient:
    """HTTP client for one archive, with a connection for each request. For one thread.

    Args:
        address: address of the archive.
        timeouts: timeouts of each request.
    """

    def __init__(self, address: Address, timeouts: Timeouts | None = None) -> None:
        self._address = address
        self._timeouts = timeouts or Timeouts()

    @property
    def where(self) -> str:
        """The address as given on the command line."""
        return self._address.text

    def request(
        self, path: str, body: bytes | None = None, kind: str = "", *, is_slow: bool = False
    ) -> HttpResponse:
        """GET ``path``, or POST ``body``; return the response, a context manager.

        Args:
            path: path on the server.
            body: body to post.
            kind: media type of the body.
            is_slow: True if the archive has work to do before it responds.

        Raises:
            Unavailable: no server answers in HTTP and in time.
        """
        timeouts = self._timeouts
        if is_slow:
            timeouts = replace(timeouts, head_s=timeouts.work_s)
        reply = HttpResponse(self.where, self._address.connect(), timeouts)
        try:
            reply.send("GET" if body is None else "POST", path, body, kind)
        except BaseException:
            reply.__exit__(None, None, None)
            raise
        return reply


class _Deadline:
    """A total timeout: shuts the socket down when it ends.

    The socket's own timeout applies to each read, so that a slow server could send without end.
    """

    def __init__(self, sock: socket.socket, first_s: float) -> None:
        self._sock = sock
        self._began_s = time.monotonic()
        self._end_s = self._began_s + first_s
        self._stopped = threading.Event()
        self.is_over = False
        self._thread = threading.Thread(target=self._run, name="deadline", daemon=True)
        self._thread.start()

    def extend(self, total_s: float) -> None:
        """Set the deadline to ``total_s`` seconds after the construction."""
        self._end_s = self._began_s + total_s

    def stop(self) -> None:
        """Cancel the deadline."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while (left_s := self._end_s - time.monotonic()) > 0:
            if self._stopped.wait(min(left_s, 1.0)):
                return
        self.is_over = True
        try:
            # The plain socket's method: TLS would first send close_notify, which may block.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            return  # the socket is closed already
