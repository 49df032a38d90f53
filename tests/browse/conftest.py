"""Fixtures: the page's server on loopback, before an archive behind its socket."""

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyrage
import pytest

from listener.browse.forwarding import ArchiveForwarder
from listener.browse.local_records import LocalRecords
from listener.browse.loopback_server import LoopbackServer
from listener.browse.page_app import PageApp
from listener.browse.sessions import Sessions
from listener.browser_page.page_files import load_page
from listener.clips.http import parse_address
from tests.clips.conftest import (  # the same archive that its own client's tests use
    Sounding,
    archive_socket,
    clock,
    context,
    folder,
    log,
    shelf,
    store,
    wall,
)
from tests.ports import find_free_port

__all__ = [
    "Sounding",
    "archive_socket",
    "clock",
    "context",
    "folder",
    "log",
    "shelf",
    "store",
    "wall",
]

INDEX = "<!doctype html><title>a page</title>"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the server."""

    status: int
    headers: dict[str, str]
    data: bytes

    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


class Tab:
    """A tab of a browser: sends what the page would send.

    Args:
        port: of the server.
        token: from the fragment of the address.
    """

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token
        self.session = ""

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        **headers: str,
    ) -> Reply:
        """Send one request; keyword arguments are headers, with `_` in place of `-`."""
        sent = {"Host": f"localhost:{self.port}", "Origin": f"http://localhost:{self.port}"}
        sent |= {"Sec-Fetch-Site": "same-origin", "Earmark-Session": self.session}
        sent |= {name.replace("_", "-").title(): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = kind
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            names = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, names, reply.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def post(self, path: str, fields: object, **headers: str) -> Reply:
        return self.send("POST", path, json.dumps(fields).encode(), **headers)

    def open(self) -> "Tab":
        """Exchange the token for a session."""
        reply = self.post("/page/session", {"token": self.token})
        assert reply.status == 200, reply
        self.session = reply.json()["session"]
        return self

    def request(self, identity: str, op: str, owner: str = "ada", **fields: object) -> Reply:
        """Make both steps of a request as the page does; return the last response."""
        body = {"owner": owner, "request": {"op": op} | fields}
        ticket = self.post("/v1/tickets", body)
        assert ticket.status == 201, ticket
        key = pyrage.x25519.Identity.from_str(identity)
        line = bytes(pyrage.decrypt(ticket.json()["challenge"].encode(), [key]))
        return self.send("POST", f"/v1/tickets/{ticket.json()['ticket']}", line, "text/plain")


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    """A page of two files."""
    made = tmp_path / "page"
    made.mkdir()
    (made / "index.html").write_text(INDEX, "utf-8")
    (made / "page.js").write_text("export {};\n", "utf-8")
    return made


@pytest.fixture
def owners_home(tmp_path: Path) -> Path:
    """The data directory of the owner's own computer."""
    return tmp_path / "owners-home"


@pytest.fixture
def open_tab(
    page_folder: Path, owners_home: Path, archive_socket: Path
) -> Iterator[Callable[..., Tab]]:
    """Start a server; return a tab that has not exchanged its token yet."""
    servers: list[LoopbackServer] = []

    def make(archive: str | None = None, owner: str = "ada") -> Tab:
        port = find_free_port()
        address = parse_address(archive or str(archive_socket), None)
        sessions = Sessions()
        page = PageApp(
            load_page(page_folder),
            sessions,
            LocalRecords(owners_home, owner, address),
            ArchiveForwarder(address, owner),
            lambda: None,
        )
        server = LoopbackServer(port)
        servers.append(server)
        server.start(page.app(f"localhost:{port}"))
        return Tab(port, sessions.token)

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def tab(open_tab: Callable[..., Tab]) -> Tab:
    """A tab with a session."""
    return open_tab().open()


class RunningBrowse:
    """A running ``earmark clips browse`` and the addresses that it prints."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "listener", "clips", "browse", "--no-open", "--json", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def next_tab(self) -> Tab:
        """Return a tab of the next address."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        address = urlsplit(json.loads(line)["address"])
        assert (address.scheme, address.hostname, address.path) == ("http", "localhost", "/")
        assert address.port is not None
        return Tab(address.port, address.fragment.removeprefix("token="))

    def end(self) -> tuple[int, str]:
        """End it by SIGTERM; return its exit code and what it wrote to standard error."""
        self.process.terminate()
        _, written = self.process.communicate(timeout=30)
        return self.process.returncode, written
