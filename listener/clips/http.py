"""Where an archive is: TLS 1.3 with the household's authority, or a Unix socket.

HTTP to the archive, which is trusted in nothing.

Whatever the other side sends, the answer is bounded in size and in time, or is ``Unavailable``.
Python's own client is enough: one request a connection, no redirects, no cookies, no proxies.
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
PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Address:
    """Where an archive is."""

    text: str
    """As it was typed, for messages."""
    connect: Callable[[], http.client.HTTPConnection]


def parse_address(text: str, ca: Path | None) -> Address:
    """Read ``https://host[:port]``, or the path of a socket, with or without ``unix:``.

    Args:
        text: as typed.
        ca: the household's authority, which alone is believed.

    Raises:
        UsageError: it is neither, or there is no authority to check it with.
        ConfigError: the authority's file is none.
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
            f"{text!r} is no address of an archive",
            "https://HOST:PORT, or the path of its socket; nothing is asked in the clear",
        )
    if ca is None:
        raise UsageError(
            "nothing here says which archive is the household's",
            "--ca FILE names the authority; earmark household join brings it",
        )
    context = _context(ca)
    return Address(
        text,
        lambda: http.client.HTTPSConnection(host, port or PORT, timeout=CONNECT_S, context=context),
    )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("archive", timeout=CONNECT_S)
        self._path = path

    def connect(self) -> None:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        wire.settimeout(CONNECT_S)
        try:
            wire.connect(self._path)
        except BaseException:
            wire.close()
            raise
        self.sock = wire


def _context(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "it is no certificate"
        raise ConfigError(
            f"cannot use the authority {ca}: {reason}",
            "it is ca.crt, which earmark household join brings",
        ) from error
    return context


SMALL_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 64 << 10
SLOWEST_BYTES_A_S: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for an answer's head, and from then on for its first byte."""

    head_s: float = 60.0
    body_s: float = 300.0
    work_s: float = 1800.0
    """For the head where the archive has to erase or verify, for all we know, 100,000 clips."""


class HttpResponse:
    """An answer whose body is still to be read. A context; for one thread."""

    def __init__(
        self, where: str, connection: http.client.HTTPConnection, patience: Timeouts
    ) -> None:
        self._where = where
        self._connection = connection
        self._patience = patience
        self._watch: _Deadline | None = None
        self._response: http.client.HTTPResponse | None = None
        self.status = 0
        self.kind = ""
        """The media type, without parameters."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.stop()
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def send(self, method: str, path: str, body: bytes | None, kind: str) -> None:
        """Send the request and read the head of the answer.

        Raises:
            Unavailable: nobody is there, or who is there speaks no HTTP, or slowly.
        """
        headers = {"connection": "close", "accept-encoding": "identity"}
        if body is not None:
            headers["content-type"] = kind
        try:
            self._connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"who answers at {self._where} is not this household's archive",
                "--ca names the household's authority, and the host must be as in its certificate",
            ) from error
        except OSError as error:
            raise Unavailable(
                f"no archive at {self._where}: {error.strerror or error}",
                "does earmark archive run there, and is this its address? --archive names another",
            ) from error
        try:
            wire: socket.socket = self._connection.sock
            self._watch = _Deadline(wire, self._patience.head_s)
            # The watch ends what drips; this ends what says nothing.
            wire.settimeout(max(self._patience.head_s, self._patience.body_s))
            self._connection.request(method, path, body, headers)
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._error("gave no answer that is HTTP", error) from error
        self._watch.until(self._patience.body_s)
        self.status = self._response.status
        self.kind = (self._response.getheader("content-type") or "").partition(";")[0].strip()

    def pieces(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the body, whole, or raise.

        Args:
            most_bytes: what is longer is refused before it is held.

        Raises:
            Unavailable: it broke off, is too long, or comes too slowly.
        """
        response, watch = self._response, self._watch
        if response is None or watch is None:
            raise self._error("was not asked")
        told, got = response.length, 0
        if told is not None and told > most_bytes:
            raise self._error("sends more than an answer can be")
        while told is None or got < told:
            most = PIECE_BYTES if told is None else min(PIECE_BYTES, told - got)
            try:
                piece = response.read1(most)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._error("broke off in the middle of its answer", error) from error
            if not piece:
                break
            got += len(piece)
            if got > most_bytes:
                raise self._error("sends more than an answer can be")
            watch.until(self._patience.body_s + got / SLOWEST_BYTES_A_S)
            yield piece
        if watch.is_over or (told is not None and got < told):
            raise self._error("broke off in the middle of its answer")

    def body(self, most_bytes: int = SMALL_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Unavailable: as for ``pieces``.
        """
        held = bytearray()
        for piece in self.pieces(most_bytes):
            held += piece
        return bytes(held)

    def _error(self, what: str, why: Exception | None = None) -> Unavailable:
        # Where nothing comes at all, the socket's own patience may end before the watch's.
        if isinstance(why, TimeoutError) or (self._watch is not None and self._watch.is_over):
            what = "takes too long"
        return Unavailable(f"the archive at {self._where} {what}", "try again later")


class HttpClient:
    """Asks one archive, a connection each time. For one thread.

    Args:
        address: where it is.
        patience: how long to wait.
    """

    def __init__(self, address: Address, patience: Timeouts | None = None) -> None:
        self._address = address
        self._patience = patience or Timeouts()

    @property
    def where(self) -> str:
        """The address as it was typed."""
        return self._address.text

    def request(
        self, path: str, body: bytes | None = None, kind: str = "", *, works: bool = False
    ) -> HttpResponse:
        """GET ``path``, or POST ``body``; return the answer, to be used as a context.

        Args:
            path: on the archive.
            body: what is posted.
            kind: its media type.
            works: whether the archive has work to do before it says anything.

        Raises:
            Unavailable: nobody answers in HTTP and in time.
        """
        patience = self._patience
        if works:
            patience = replace(patience, head_s=patience.work_s)
        reply = HttpResponse(self.where, self._address.connect(), patience)
        try:
            reply.send("GET" if body is None else "POST", path, body, kind)
        except BaseException:
            reply.__exit__(None, None, None)
            raise
        return reply


class _Deadline:
    """Hangs up when time is over: a time-out alone lets a peer drip for ever."""

    def __init__(self, wire: socket.socket, first_s: float) -> None:
        self._wire = wire
        self._began_s = time.monotonic()
        self._end_s = self._began_s + first_s
        self._stopped = threading.Event()
        self.is_over = False
        self._thread = threading.Thread(target=self._turn, name="patience", daemon=True)
        self._thread.start()

    def until(self, total_s: float) -> None:
        """Wait until ``total_s`` after the beginning."""
        self._end_s = self._began_s + total_s

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _turn(self) -> None:
        while (left_s := self._end_s - time.monotonic()) > 0:
            if self._stopped.wait(min(left_s, 1.0)):
                return
        self.is_over = True
        try:
            # The plain socket's own: TLS would say goodbye first, to somebody who does not listen.
            socket.socket.shutdown(self._wire, socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already
