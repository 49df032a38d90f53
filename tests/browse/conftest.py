"""Fixtures: the page's server on loopback, before an archive behind its socket."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from listener.browse.forwarding import ArchiveForwarder
from listener.browse.local_records import LocalRecords
from listener.browse.loopback_server import LoopbackServer
from listener.browse.page_app import PageApp
from listener.browse.sessions import Sessions
from listener.browser_page.page_files import load_page
from listener.clips.http import parse_address
from tests.browse.tabs import Tab
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
