"""The HTTP client: addresses, TLS, and hostile or faulty servers.

Each failure is one error, in bounded memory and time.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.clips.http import HttpClient, Timeouts, parse_address
from listener.errors import ConfigError, Unavailable, UsageError
from listener.household import ca
from listener.household.identity import parse as identity_of


@pytest.mark.parametrize(
    "text",
    ["http://home.lan", "home.lan", "https://", "https://h:99999", "https://h/path", "https://[x"],
)
def test_malformed_or_plain_http_address_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an address"):
        parse_address(text, tmp_path / "ca.crt")


def test_https_needs_a_valid_certificate_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nothing")

    with pytest.raises(UsageError, match="no certificate authority"):
        parse_address("https://home.lan:8883", None)
    for name in ("ca.crt", "nowhere"):
        with pytest.raises(ConfigError, match="cannot load the certificate authority"):
            parse_address("https://home.lan:8883", tmp_path / name)


pytestmark = pytest.mark.system  # real servers and timeouts

Serve = Callable[..., HttpClient]
SHORT = Timeouts(head_s=0.3, body_s=0.3)
"""For responses that never end. Others use the default: a busy machine may take long."""


class Server:
    """A server on a Unix socket that answers each connection with ``respond``."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.respond: Callable[[socket.socket], object] = lambda _: None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                with peer, contextlib.suppress(OSError):
                    peer.recv(4096)
                    self.respond(peer)
                    # Unread bytes would reset the connection and discard the response.
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(4096):
                        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    opened = Server(tmp_path / "s")
    yield opened
    opened.stop()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> HttpClient:
    del server
    return HttpClient(parse_address(str(tmp_path / "s"), None))


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode()


def read(client: HttpClient, most_bytes: int = 1000) -> bytes:
    with client.request("/") as reply:
        return reply.body(most_bytes)


@pytest.mark.parametrize(
    "answer",
    [
        head("content-length: 5") + b"hello",
        head("content-length: 5") + b"hello and more",
        head("transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        head() + b"hello",
    ],
)
def test_response_is_read_to_its_end(server: Server, client: HttpClient, answer: bytes) -> None:
    server.respond = lambda peer: peer.sendall(answer)

    assert read(client) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
        head(*(f"x{number}: y" for number in range(200))),
        head("content-length: 5") + b"he",
        head("content-length: 99999999999999999999") + b"hello",
        head("transfer-encoding: chunked") + b"5\r\nhello\r\n",
        head("transfer-encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
        head("transfer-encoding: chunked") + b"-5\r\n" + b"x" * 2000,
        head("transfer-encoding: chunked") + b"fffffffffffffff\r\n" + b"x" * 2000,
        head() + b"x" * 1001,
    ],
)
def test_malformed_or_long_response_is_one_error(
    server: Server, client: HttpClient, answer: bytes
) -> None:
    server.respond = lambda peer: peer.sendall(answer)

    with pytest.raises(Unavailable):
        read(client)


@pytest.mark.parametrize(
    "begins", [b"", b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n", head("content-length: 900")]
)
def test_slow_response_times_out(server: Server, tmp_path: Path, begins: bytes) -> None:
    client = HttpClient(parse_address(str(tmp_path / "s"), None), SHORT)
    finished = threading.Event()

    def drip(peer: socket.socket) -> None:
        peer.sendall(begins)
        with contextlib.suppress(OSError):
            while not finished.wait(0.01):
                peer.sendall(b"x" if begins != b"" else b"")

    server.respond = drip

    try:
        with pytest.raises(Unavailable, match="did not answer in time"):
            read(client)
    finally:
        finished.set()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=400),
        st.builds(
            lambda lines, body: head(*lines) + body,
            st.lists(
                st.sampled_from(
                    [
                        "content-length: 3",
                        "content-length: -1",
                        "content-length: x",
                        "transfer-encoding: chunked",
                        "connection: keep-alive",
                        "content-type: application/json",
                        ": :",
                    ]
                ),
                max_size=4,
            ),
            st.one_of(st.binary(max_size=300), st.just(b"3\r\nabc\r\n0\r\n\r\n")),
        ),
    )
)
def test_any_response_is_bounded_bytes_or_one_error(
    server: Server, client: HttpClient, answer: bytes
) -> None:
    server.respond = lambda peer: peer.sendall(answer)

    with contextlib.suppress(Unavailable):
        assert len(read(client, 200)) <= 200


class TlsServer:
    """An archive with a certificate of a household, on a free port."""

    def __init__(self, folder: Path, authority: ca.Authority, highest: int) -> None:
        key = ca.new_key()
        crt = ca.issue_certificate(
            authority, identity_of("s-api"), key.public_key(), datetime.now(UTC), ["localhost"]
        )
        (folder / "me.crt").write_bytes(ca.certificate_pem(crt))
        (folder / "me.key").write_bytes(ca.key_pem(key))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "me.crt", folder / "me.key")
        self._context.maximum_version = ssl.TLSVersion(highest)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with (
                    contextlib.suppress(OSError),
                    self._context.wrap_socket(plain, server_side=True) as peer,
                ):
                    peer.recv(4096)
                    peer.sendall(head("content-length: 5") + b"hello")
                plain.close()


@pytest.mark.parametrize(
    ("host", "highest", "foreign", "message"),
    [
        ("localhost", ssl.TLSVersion.TLSv1_3, False, None),
        ("localhost", ssl.TLSVersion.TLSv1_2, False, "cannot connect to the archive at"),
        ("localhost", ssl.TLSVersion.TLSv1_3, True, "not this household's archive"),
        ("127.0.0.1", ssl.TLSVersion.TLSv1_3, False, "not this household's archive"),
    ],
)
def test_only_the_households_archive_is_trusted_over_tls_1_3(
    tmp_path: Path, host: str, highest: int, *, foreign: bool, message: str | None
) -> None:
    own, other = (ca.new_authority(datetime.now(UTC)) for _ in range(2))
    (tmp_path / "ca.crt").write_bytes(ca.certificate_pem(own.certificate))
    server = TlsServer(tmp_path, other if foreign else own, highest)
    client = HttpClient(parse_address(f"https://{host}:{server.port}", tmp_path / "ca.crt"))

    try:
        if message is None:
            assert read(client) == b"hello"
        else:
            with pytest.raises(Unavailable, match=message):
                read(client)
    finally:
        server.stop()
