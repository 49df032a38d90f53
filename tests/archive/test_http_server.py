"""The server of the API: sockets, TLS and limits."""

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp

from listener.archive.api import HEADERS_LIMIT_BYTES
from listener.archive.http_server import HttpServer
from listener.config import ArchiveSettings
from listener.errors import ConfigError, Unavailable
from tests.ports import find_free_port

pytestmark = pytest.mark.system  # real servers and TLS

HELLO: ASGIApp = PlainTextResponse("hello")
OpenServer = Callable[..., HttpServer]


@pytest.fixture
def open_server(home: Path) -> Iterator[OpenServer]:
    opened = []

    def start(**fields: object) -> HttpServer:
        server = HttpServer(HELLO, home, msgspec.convert(fields, ArchiveSettings))
        opened.append(server)
        server.start()
        return server

    yield start
    for server in opened:
        server.stop()


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "archive")])
    now = datetime.now(UTC)
    crt_object = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = tmp_path / "a.crt", tmp_path / "a.key"
    crt.write_bytes(crt_object.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


def unix_client(home: Path) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(home / "archive.sock")))


def connect_tls(port: int, authority: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(authority))
    sock = socket.create_connection(("127.0.0.1", port), timeout=40)
    return context.wrap_socket(sock, server_hostname="localhost")


def read_to_end(sock: ssl.SSLSocket) -> bytes:
    """The bytes until the server closes the connection."""
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def send_without_end(sock: ssl.SSLSocket) -> NoReturn:
    while True:
        sock.sendall(b"y" * HEADERS_LIMIT_BYTES)


def test_unix_socket_is_for_its_user_only(open_server: OpenServer, home: Path) -> None:
    server = open_server()

    with unix_client(home) as client:
        assert client.get("http://archive/").text == "hello"
    assert (home / "archive.sock").stat().st_mode & 0o777 == 0o600
    server.stop()
    assert not (home / "archive.sock").exists()


def test_left_over_socket_is_replaced(open_server: OpenServer, home: Path) -> None:
    (home / "archive.sock").write_bytes(b"")

    open_server()

    with unix_client(home) as client:
        assert client.get("http://archive/").text == "hello"


def test_network_socket_requires_tls_1_3(
    open_server: OpenServer, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    open_server(port=port, certificate_file=str(crt), key_file=str(key))
    context = ssl.create_default_context(cafile=str(crt))

    with httpx2.Client(verify=context) as client:
        assert client.get(f"https://localhost:{port}/").text == "hello"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with httpx2.Client(verify=context) as client, pytest.raises(httpx2.ConnectError):
        client.get(f"https://localhost:{port}/")


def test_loopback_without_a_certificate_is_served_in_plain_http(
    open_server: OpenServer, port: int
) -> None:
    server = open_server(port=port)

    with httpx2.Client() as client:
        for _ in range(3):
            assert client.get(f"http://127.0.0.1:{port}/").text == "hello"
    assert server.counts() == {
        "connections refused": 0,
        "connections closed in favour of others": 0,
        "connections that failed or were too slow": 0,
        "requests delayed": 0,
    }


def test_headers_beyond_the_limit_are_refused(
    open_server: OpenServer, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    open_server(port=port, certificate_file=str(crt), key_file=str(key))
    begun = b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ".ljust(HEADERS_LIMIT_BYTES, b"y")

    with connect_tls(port, crt) as sock:
        sock.sendall(begun)
        sock.sendall(b"\r\nconnection: close\r\n\r\n")
        within = read_to_end(sock)
    with connect_tls(port, crt) as sock:
        sock.sendall(begun + b"y")
        beyond = read_to_end(sock)

    assert within.startswith(b"HTTP/1.1 200 OK\r\n")
    assert within.endswith(b"\r\n\r\nhello")
    # The server answered and closed the connection without waiting for the end of the headers.
    assert beyond.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in beyond


def test_endless_headers_close_only_their_connection(
    open_server: OpenServer, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    open_server(port=port, certificate_file=str(crt), key_file=str(key))

    with connect_tls(port, crt) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
        # A server that stops reading but holds the connection would raise TimeoutError instead.
        with pytest.raises((ConnectionError, ssl.SSLError)):
            send_without_end(sock)
    with connect_tls(port, crt) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert read_to_end(sock).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": "8.8.8.8", "port": 1}, "not an address of loopback"),
        ({"host": "example.org", "port": 1}, "not an address of loopback"),
        ({"host": "192.168.7.7", "port": 1}, "certificate_file is not set"),
        (
            {"port": 1, "certificate_file": "/nowhere", "key_file": "/nowhere"},
            "cannot load the archive's certificate",
        ),
    ],
)
def test_public_address_or_plain_network_socket_is_refused(
    home: Path, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        HttpServer(HELLO, home, ArchiveSettings(**fields))


def test_port_in_use_is_an_error(open_server: OpenServer, home: Path, port: int) -> None:
    open_server(port=port)

    with pytest.raises(Unavailable, match="cannot listen"):
        HttpServer(HELLO, home, ArchiveSettings(port=port))
    with pytest.raises(Unavailable, match="cannot open"):
        HttpServer(HELLO, home / ("x" * 120), ArchiveSettings())
