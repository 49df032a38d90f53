"""Floods of connections and messages by peers that prove nothing.

Each flood runs for a given time and returns what it did. `start` runs one in a process of its own,
so that it takes no time from the test, and `Flood.stop` ends it early. The addresses of loopback,
127.0.0.2 and so on, stand for several hosts.
"""

import contextlib
import json
import multiprocessing
import os
import selectors
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Final, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from listener.mqtt.paho_thread import stop_network_thread

_TICK_S: Final = 0.05
_CONNECT_S: Final = 5.0
_MOST_OPENED_A_TICK: Final = 100
_NO_LINGER: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Target:
    """Address that is flooded.

    Args:
        port: TCP port on loopback.
        sources: loopback addresses from which the connections come.
        connections: connections that each address tries to hold.
        uses_tls: whether the connections complete a TLS handshake.
    """

    port: int
    sources: tuple[str, ...] = ("127.0.0.2",)
    connections: int = 48
    uses_tls: bool = True


@dataclass(slots=True)
class FloodCounts:
    """What a flood did."""

    opened: int = 0
    refused: int = 0
    """Connections that failed while they were opened."""
    closed: int = 0
    """Connections that the server closed afterwards."""
    sent_bytes: int = 0
    received_bytes: int = 0
    published: int = 0

    @property
    def attempts(self) -> int:
        """Connections and messages, with those that failed."""
        return self.opened + self.refused + self.published


class _Behaviour(Protocol):
    """What a connection sends once it is open."""

    @property
    def reads(self) -> bool:
        """Whether it reads what the server sends."""

    @property
    def closes(self) -> bool:
        """Whether it hangs up after its first bytes."""

    def data(self, age_s: float, sent: int) -> bytes:
        """Return the bytes to send now."""


@dataclass(frozen=True, slots=True)
class _Silence:
    reads: bool = True
    closes: bool = False

    def data(self, age_s: float, sent: int) -> bytes:
        del age_s, sent
        return b""


@dataclass(frozen=True, slots=True)
class _Once:
    """Sends its bytes, and hangs up at once if ``closes``."""

    text: bytes
    reads: bool = True
    closes: bool = False

    def data(self, age_s: float, sent: int) -> bytes:
        del age_s
        return b"" if sent else self.text


@dataclass(frozen=True, slots=True)
class _Dribble:
    """Sends its beginning, and then one byte a second."""

    begin: bytes
    reads: bool = True
    closes: bool = False

    def data(self, age_s: float, sent: int) -> bytes:
        if not sent:
            return self.begin
        return b"x" if sent - len(self.begin) < int(age_s) else b""


@dataclass(frozen=True, slots=True)
class _Endless:
    """Sends the same text without end."""

    text: bytes
    reads: bool = True
    closes: bool = False

    def data(self, age_s: float, sent: int) -> bytes:
        del age_s, sent
        return self.text


def half_open(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Connect and say nothing; connect again when the server closes."""
    return _crowd(_plain(target), _Silence(), duration_s, stop)


def silent_tls(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Complete the TLS handshake and say nothing; connect again when the server closes."""
    return _crowd(target, _Silence(), duration_s, stop)


def stalled_handshakes(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Send the first bytes of a TLS handshake, and nothing more."""
    return _crowd(_plain(target), _Once(_client_hello()[:64]), duration_s, stop)


def reconnects(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Connect and hang up at once, as often as possible."""
    return _crowd(_plain(target), _Once(b"\0", closes=True), duration_s, stop)


def garbage(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Send bytes that are neither TLS nor HTTP."""
    return _crowd(_plain(target), _Once(bytes(range(256)) * 4), duration_s, stop)


def slow_headers(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Send the headers of a request one byte a second."""
    begin = b"POST /v1/tickets HTTP/1.1\r\nhost: a\r\nx: "
    return _crowd(target, _Dribble(begin), duration_s, stop)


def slow_bodies(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Send the body of a request one byte a second."""
    return _crowd(target, _Dribble(_ticket_request(16_000)), duration_s, stop)


def ticket_requests(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Request tickets without end on connections that stay open."""
    return _crowd(target, _Endless(_ticket_request()), duration_s, stop)


def unread_responses(target: Target, duration_s: float, stop: Event | None = None) -> FloodCounts:
    """Request tickets without end, and read no response."""
    return _crowd(target, _Endless(_ticket_request(), reads=False), duration_s, stop)


NETWORK_FLOODS: Final[tuple[Callable[..., FloodCounts], ...]] = (
    half_open,
    silent_tls,
    stalled_handshakes,
    reconnects,
    garbage,
    slow_headers,
    slow_bodies,
    ticket_requests,
    unread_responses,
)
"""Floods of a TLS port, each with the same arguments."""


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Access of one identity to a broker on loopback.

    Args:
        port: TCP port.
        client_id: MQTT client id.
        tls: folder with ``ca.crt`` and the certificate and key that are named as the client id.
    """

    port: int
    client_id: str
    tls: Path


@contextlib.contextmanager
def broker_session(login: BrokerLogin) -> Iterator[paho.Client]:
    """Connect to the broker, in a thread of paho, while the block runs.

    Raises:
        OSError: the broker does not accept the connection.
    """
    name = login.client_id
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5
    )
    client.tls_set(f"{login.tls}/ca.crt", f"{login.tls}/{name}.crt", f"{login.tls}/{name}.key")
    client.connect("127.0.0.1", login.port)
    client.loop_start()
    until_s = time.monotonic() + _CONNECT_S
    while not client.is_connected() and time.monotonic() < until_s:
        time.sleep(0.02)
    try:
        yield client
    finally:
        client.disconnect()
        stop_network_thread(client)


def retained_messages(
    login: BrokerLogin,
    duration_s: float,
    stop: Event | None = None,
    *,
    topic: str = "earmark/v1/clips/ada/kitchen",
    size_bytes: int = 1_050_000,
) -> FloodCounts:
    """Publish retained messages, each on a topic of its own, with one identity's certificate."""
    counts = FloodCounts()
    until_s = time.monotonic() + duration_s
    payload = os.urandom(size_bytes)
    while _goes_on(until_s, stop):
        # A broker without memory answers nothing and hangs up. A new session has an empty queue,
        # so this process does not grow meanwhile.
        with contextlib.suppress(OSError), broker_session(login) as client:
            while client.is_connected() and _goes_on(until_s, stop):
                told = client.publish(f"{topic}/{uuid.uuid4()}", payload, 1, retain=True)
                with contextlib.suppress(RuntimeError, ValueError):
                    told.wait_for_publish(2)
                counts.published += told.rc == paho.MQTT_ERR_SUCCESS and told.is_published()
        time.sleep(_TICK_S)
    return counts


def datagrams(
    path: Path, duration_s: float, stop: Event | None = None, *, data: bytes = b"x" * 64
) -> FloodCounts:
    """Send datagrams to a Unix socket as fast as it takes them."""
    counts = FloodCounts()
    until_s = time.monotonic() + duration_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(0)
        while _goes_on(until_s, stop):
            for _ in range(200):
                try:
                    out.sendto(data, str(path))
                except BlockingIOError:
                    time.sleep(0.0005)
                except OSError:
                    counts.refused += 1
                    time.sleep(_TICK_S)
                else:
                    counts.published += 1
    return counts


class Flood:
    """A flood in a process of its own."""

    def __init__(
        self, flood: Callable[..., FloodCounts], target: object, duration_s: float
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._results: Any = context.SimpleQueue()
        self._process = context.Process(
            target=_run, args=(flood, target, duration_s, self._stop, self._results), daemon=True
        )
        self._process.start()
        self._counts: FloodCounts | None = None

    @property
    def is_running(self) -> bool:
        """Whether the flood has not ended yet."""
        return self._counts is None and bool(self._results.empty())

    def stop(self) -> FloodCounts:
        """End the flood; return what it did."""
        if self._counts is None:
            self._stop.set()
            self._counts = self._results.get()
            self._process.join(30)
        counts: FloodCounts = self._counts
        return counts


@contextlib.contextmanager
def running(
    flood: Callable[..., FloodCounts], target: object, duration_s: float = 600.0
) -> Iterator[Flood]:
    """Run a flood while the block runs."""
    begun = Flood(flood, target, duration_s)
    try:
        yield begun
    finally:
        begun.stop()


def loopback(count: int, first: int = 2) -> tuple[str, ...]:
    """Return addresses of loopback that stand for so many hosts."""
    return tuple(f"127.0.{number >> 8}.{number & 255}" for number in range(first, first + count))


def _run(
    flood: Callable[..., FloodCounts],
    target: object,
    duration_s: float,
    stop: Event,
    results: Any,  # noqa: ANN401 - a queue of multiprocessing, which has no public type
) -> None:
    results.put(flood(target, duration_s, stop))


def _goes_on(until_s: float, stop: Event | None) -> bool:
    return time.monotonic() < until_s and not (stop is not None and stop.is_set())


def _plain(target: Target) -> Target:
    return Target(target.port, target.sources, target.connections, uses_tls=False)


class _Peer:
    """One connection of many."""

    def __init__(self, target: Target, source: str, context: ssl.SSLContext | None) -> None:
        self.source = source
        self.sent = 0
        self.is_open = False
        plain = socket.socket()
        plain.settimeout(0)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        try:
            plain.bind((source, 0))
            with contextlib.suppress(BlockingIOError):
                plain.connect(("127.0.0.1", target.port))
        except OSError:
            plain.close()
            raise
        self.plain = plain
        self.wire: socket.socket = plain
        self._context = context
        self._since_s = time.monotonic()

    def advance(self, behaviour: _Behaviour, counts: FloodCounts) -> bool:
        """Go on with the connection; return whether it lasts."""
        try:
            if not self.is_open:
                self._open()
                counts.opened += 1
            if behaviour.reads:
                self._read(counts)
            data = behaviour.data(time.monotonic() - self._since_s, self.sent)
            while data:
                sent = self.wire.send(data)
                self.sent += sent
                counts.sent_bytes += sent
                data = data[sent:]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            if self.is_open:
                counts.closed += 1
            else:
                counts.refused += 1
            return False
        return not (behaviour.closes and self.sent)

    def close(self) -> None:
        self.wire.close()

    def _open(self) -> None:
        if self._context is not None:
            if not isinstance(self.wire, ssl.SSLSocket):
                self.plain.getpeername()  # raises until the connection stands
                self.wire = self._context.wrap_socket(
                    self.plain, do_handshake_on_connect=False, suppress_ragged_eofs=False
                )
            self.wire.do_handshake()
        else:
            error = self.plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            self.plain.getpeername()
        self.is_open = True
        self._since_s = time.monotonic()

    def _read(self, counts: FloodCounts) -> None:
        while True:
            try:
                data = self.wire.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            if not data:
                raise ConnectionResetError
            counts.received_bytes += len(data)


def _crowd(
    target: Target, behaviour: _Behaviour, duration_s: float, stop: Event | None
) -> FloodCounts:
    counts = FloodCounts()
    until_s = time.monotonic() + duration_s
    context = None
    if target.uses_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    peers: dict[str, list[_Peer]] = {source: [] for source in target.sources}
    selector = selectors.DefaultSelector()
    try:
        while _goes_on(until_s, stop):
            _fill(peers, target, context, counts, selector)
            selector.select(_TICK_S)
            _advance(peers.values(), behaviour, counts, selector)
    finally:
        for peer in (each for some in peers.values() for each in some):
            peer.close()
        selector.close()
    return counts


def _fill(
    peers: dict[str, list[_Peer]],
    target: Target,
    context: ssl.SSLContext | None,
    counts: FloodCounts,
    selector: selectors.BaseSelector,
) -> None:
    left = _MOST_OPENED_A_TICK
    for source, some in peers.items():
        while len(some) < target.connections and left:
            left -= 1
            try:
                peer = _Peer(target, source, context)
            except OSError:
                counts.refused += 1
                continue
            some.append(peer)
            selector.register(peer.plain.fileno(), selectors.EVENT_READ, peer)


def _advance(
    peers: Iterable[list[_Peer]],
    behaviour: _Behaviour,
    counts: FloodCounts,
    selector: selectors.BaseSelector,
) -> None:
    for some in peers:
        for peer in tuple(some):
            number = peer.wire.fileno()
            if not peer.advance(behaviour, counts):
                with contextlib.suppress(KeyError, ValueError):
                    selector.unregister(number)
                peer.close()
                some.remove(peer)


def _ticket_request(length: int = 0) -> bytes:
    body = json.dumps({"owner": "ada", "request": {"op": "keys"}}).encode()
    head = (
        "POST /v1/tickets HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        f"content-length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + (b"{" if length else body)


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    wire = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        wire.do_handshake()
    return outgoing.read()
