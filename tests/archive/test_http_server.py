"""The API's sockets: who is let in, how, and for how long."""

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

pytestmark = pytest.mark.system  # real servers and TLS

HELLO: ASGIApp = PlainTextResponse("hello")
Open = Callable[..., HttpServer]


@pytest.fixture
def doors(home: Path) -> Iterator[Open]:
    opened = []

    def start(**fields: object) -> HttpServer:
        made = HttpServer(HELLO, home, msgspec.convert(fields, ArchiveSettings))
        opened.append(made)
        made.start()
        return made

    yield start
    for one in opened:
        one.stop()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "archive")])
    now = datetime.now(UTC)
    made = (
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
    crt.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


def local(home: Path) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(home / "archive.sock")))


def dialled(port: int, authority: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(authority))
    wire = socket.create_connection(("127.0.0.1", port), timeout=40)
    return context.wrap_socket(wire, server_hostname="localhost")


def all_of(wire: ssl.SSLSocket) -> bytes:
    """What comes until the other side hangs up."""
    return b"".join(iter(lambda: wire.recv(1 << 16), b""))


def go_on_for_ever(wire: ssl.SSLSocket) -> NoReturn:
    while True:
        wire.sendall(b"y" * HEADERS_LIMIT_BYTES)


def test_the_socket_in_the_home_is_for_this_user_alone(doors: Open, home: Path) -> None:
    made = doors()

    with local(home) as client:
        assert client.get("http://archive/").text == "hello"
    assert (home / "archive.sock").stat().st_mode & 0o777 == 0o600
    made.stop()
    assert not (home / "archive.sock").exists()


def test_a_dead_archives_socket_is_no_hindrance(doors: Open, home: Path) -> None:
    (home / "archive.sock").write_bytes(b"")

    doors()

    with local(home) as client:
        assert client.get("http://archive/").text == "hello"


def test_in_the_network_it_is_tls_1_3_and_nothing_older(
    doors: Open, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    doors(port=port, certificate_file=str(crt), key_file=str(key))
    context = ssl.create_default_context(cafile=str(crt))

    with httpx2.Client(verify=context) as client:
        assert client.get(f"https://localhost:{port}/").text == "hello"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with httpx2.Client(verify=context) as client, pytest.raises(httpx2.ConnectError):
        client.get(f"https://localhost:{port}/")


def test_headers_up_to_the_limit_are_waited_for_and_one_byte_more_is_refused(
    doors: Open, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    doors(port=port, certificate_file=str(crt), key_file=str(key))
    begun = b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ".ljust(HEADERS_LIMIT_BYTES, b"y")

    with dialled(port, crt) as wire:
        wire.sendall(begun)
        wire.sendall(b"\r\nconnection: close\r\n\r\n")
        within = all_of(wire)
    with dialled(port, crt) as wire:
        wire.sendall(begun + b"y")
        beyond = all_of(wire)

    assert within.startswith(b"HTTP/1.1 200 OK\r\n")
    assert within.endswith(b"\r\n\r\nhello")
    # It did not wait for the end of the headers: none came, and yet it answered and hung up.
    assert beyond.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nConnection: close\r\n" in beyond


def test_who_sends_headers_without_end_is_hung_up_on_and_others_are_answered(
    doors: Open, port: int, certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    doors(port=port, certificate_file=str(crt), key_file=str(key))

    with dialled(port, crt) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
        # A server that stopped reading, and yet held on, would be a TimeoutError instead.
        with pytest.raises((ConnectionError, ssl.SSLError)):
            go_on_for_ever(wire)
    with dialled(port, crt) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert all_of(wire).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "8.8.8.8", "port": 1}, "no address of this machine"),
        ({"host": "example.org", "port": 1}, "no address of this machine"),
        ({"host": "192.168.7.7", "port": 1}, "no archive.certificate_file"),
        (
            {"port": 1, "certificate_file": "/nowhere", "key_file": "/nowhere"},
            "certificate cannot be used",
        ),
    ],
)
def test_what_would_serve_strangers_or_in_the_clear_is_refused(
    home: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        HttpServer(HELLO, home, ArchiveSettings(**fields))


def test_port_in_use_is_reported(doors: Open, home: Path, port: int) -> None:
    doors(port=port)

    with pytest.raises(Unavailable, match="cannot listen"):
        HttpServer(HELLO, home, ArchiveSettings(port=port))
    with pytest.raises(Unavailable, match="cannot open"):
        HttpServer(HELLO, home / ("x" * 120), ArchiveSettings())
