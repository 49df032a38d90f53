"""A real archive process, and clients that speak HTTP to it without Earmark's own client."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyrage

from tests.ports import find_free_port

PATIENCE_S = 60.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("archive", timeout=PATIENCE_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Response:
    """A response: status, headers in lower case, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON of any kind
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class ArchiveProcess:
    """A running ``earmark archive``: its socket, and its port on loopback."""

    home: Path
    port: int

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        accept: str | None = "*/*",
    ) -> Response:
        """Send one request over the Unix socket."""
        sent = dict(headers or {}) | ({} if accept is None else {"accept": accept})
        with contextlib.closing(_UnixConnection(self.home / "archive.sock")) as connection:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, lowered, response.read())

    def ticket(self, owner: str, request: Mapping[str, object]) -> dict[str, Any]:
        """Request a ticket, which needs no key."""
        body = json.dumps({"owner": owner, "request": request}).encode()
        response = self.send("POST", "/v1/tickets", body, {"content-type": "application/json"})
        assert response.status == 201, response.body
        return dict(response.json())

    def answer(self, ticket: Mapping[str, Any], answer: bytes) -> Response:
        return self.send("POST", f"/v1/tickets/{ticket['ticket']}", answer)

    def ask(
        self, owner: str, identity: str, request: Mapping[str, object], following: str | None = None
    ) -> Response:
        """Make both steps of a request, as an owner with the key."""
        ticket = self.ticket(owner, request)
        return self.answer(ticket, proof(ticket, identity, following))


def proof(ticket: Mapping[str, Any], identity: str, following: str | None = None) -> bytes:
    """Decrypt a ticket's challenge, and the one of the new key."""
    answer = _decrypt(ticket["challenge"], identity)
    return answer if following is None else answer + _decrypt(ticket["new_challenge"], following)


def _decrypt(challenge: str, identity: str) -> bytes:
    key = pyrage.x25519.Identity.from_str(identity)
    return bytes(pyrage.decrypt(challenge.encode(), [key]))


@contextlib.contextmanager
def running_archive(home: Path, folder: Path) -> Iterator[ArchiveProcess]:
    """Run an archive on a home, with its Unix socket and a port on loopback."""
    log = folder / "archive.log"
    process, archive = _start(home, folder, log)
    try:
        yield archive
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert "Traceback" not in log.read_text()


def _start(home: Path, folder: Path, log: Path) -> tuple[subprocess.Popen[bytes], ArchiveProcess]:
    config = folder / "archive.toml"
    command = [sys.executable, "-m", "listener", "archive"]
    command += ["--config", str(config), "--home", str(home)]
    until_s = time.monotonic() + PATIENCE_S
    while True:
        archive = ArchiveProcess(home, find_free_port())
        config.write_text(f"broker.port = 9\n[archive]\nport = {archive.port}\n")
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        while process.poll() is None and not _answers(archive):
            if time.monotonic() >= until_s:
                process.kill()
                raise AssertionError("the archive never answered")
            time.sleep(0.05)
        if process.poll() is None:
            return process, archive
        # Another program may have taken the port since the probe.
        assert "Address already in use" in log.read_text(), log.read_text()


def _answers(archive: ArchiveProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", archive.port), 1).close()
        return archive.send("GET", "/v1/archive").status == 200
    except OSError:
        return False
