"""TLS on memory buffers, between a client and a protocol that are both in this process."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from listener.archive.tls_protocol import TlsServerProtocol
from tests.archive.test_http_server import certificate

__all__ = ["certificate"]  # a fixture


class FakeTransport(asyncio.Transport):
    """Keeps what the server writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.calls: list[str] = []

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.written += data

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name == "peername" else default


class Inner(asyncio.Protocol):
    """The protocol inside TLS."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.calls: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.calls.append("lost")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Session:
    """A client and a server that exchange bytes in memory."""

    def __init__(self, crt: Path, key: Path) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(crt, key)
        client = ssl.create_default_context(cafile=str(crt))
        self.inner, self.raw = Inner(), FakeTransport()
        self.server = TlsServerProtocol(server, self.inner)
        self.server.connection_made(self.raw)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def exchange(self) -> None:
        self.server.data_received(self.outgoing.read())
        self.incoming.write(bytes(self.raw.written))
        self.raw.written.clear()

    def shake_hands(self) -> asyncio.Transport:
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.exchange()
        assert self.inner.transport is not None
        return self.inner.transport


@pytest.fixture
def session(certificate: tuple[Path, Path]) -> Session:
    return Session(*certificate)


def test_bytes_pass_in_both_directions(session: Session) -> None:
    transport = session.shake_hands()

    session.client.write(b"question" * 10_000)
    session.exchange()
    transport.write(memoryview(b"answer" * 100_000))
    session.exchange()

    assert bytes(session.inner.received) == b"question" * 10_000
    answer = bytearray()
    while len(answer) < 600_000:
        answer += session.client.read(1 << 16)
    assert bytes(answer) == b"answer" * 100_000
    assert transport.get_extra_info("peername") == ("127.0.0.1", 1)
    assert transport.get_extra_info("sslcontext") is not None


def test_inner_protocol_sees_nothing_before_the_handshake(session: Session) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        session.client.do_handshake()
    session.server.data_received(session.outgoing.read()[:50])
    session.server.pause_writing()

    session.server.connection_lost(None)

    assert session.inner.transport is None
    assert session.inner.calls == ["lost"]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 40])
def test_bytes_that_are_not_tls_end_the_connection(session: Session, data: bytes) -> None:
    session.server.data_received(data)
    session.server.data_received(data)

    assert session.raw.calls == ["abort"]
    assert session.inner.transport is None


def test_changed_record_ends_the_connection(session: Session) -> None:
    session.shake_hands()
    session.client.write(b"question")
    record = bytearray(session.outgoing.read())
    record[-1] ^= 1

    session.server.data_received(bytes(record))

    assert session.raw.calls == ["abort"]
    assert bytes(session.inner.received) == b""


def test_close_sends_the_end_of_tls(session: Session) -> None:
    transport = session.shake_hands()
    transport.write(b"answer")

    transport.close()
    transport.write(b"more")
    session.incoming.write(bytes(session.raw.written))

    assert session.raw.calls == ["close"]
    assert transport.is_closing()
    assert session.client.read() == b"answer"
    assert session.client.read() == b""


def test_end_of_the_clients_tls_closes(session: Session) -> None:
    session.shake_hands()
    with contextlib.suppress(ssl.SSLWantReadError):
        session.client.unwrap()

    session.exchange()

    assert session.raw.calls == ["close"]


def test_paused_protocol_receives_nothing_until_it_resumes(session: Session) -> None:
    async def scenario(wait: Callable[[float], Any]) -> None:
        transport = session.shake_hands()
        transport.pause_reading()
        session.client.write(b"question")
        session.exchange()
        assert bytes(session.inner.received) == b""

        transport.resume_reading()
        await wait(0)

        assert bytes(session.inner.received) == b"question"
        assert session.raw.calls == ["pause", "resume"]

    asyncio.run(scenario(asyncio.sleep))


def test_flow_control_of_the_raw_transport_reaches_the_protocol(session: Session) -> None:
    session.shake_hands()

    session.server.pause_writing()
    session.server.resume_writing()

    assert session.inner.calls == ["pause", "resume"]
