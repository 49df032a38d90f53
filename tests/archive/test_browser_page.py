"""The browser page of the archive: over TLS beside the API, and only where it is switched on."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

from listener.archive.api import Api
from listener.archive.challenges import RequestChallenges
from listener.archive.http_server import HttpServer
from listener.archive.operations import Operations
from listener.browser_page.page_files import (
    FILE_LIMIT_BYTES,
    MOST_FILES,
    PageMissing,
    load_page,
)
from listener.browser_page.page_routes import HEADERS
from listener.cli.archive import page_of
from listener.config import ArchiveSettings, Config, parse_settings
from listener.errors import ConfigError
from listener.storage.wrong_attributions import WRONG_ATTRIBUTIONS, WrongAttributions
from tests.archive.test_http_server import certificate
from tests.ports import find_free_port

if TYPE_CHECKING:
    from listener.archive.context import ArchiveContext
    from tests.archive.conftest import ClipFactory, FakeClock, OwnerClient

__all__ = ["certificate"]


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    made = tmp_path / "page"
    made.mkdir()
    (made / "index.html").write_text("<!doctype html><title>a page</title>", "utf-8")
    (made / "texts.de.json").write_text("{}", "utf-8")
    return made


@pytest.fixture
def serve(
    context: "ArchiveContext",
    clock: "FakeClock",
    certificate: tuple[Path, Path],
    page_folder: Path,
    home: Path,
) -> Iterator[Any]:
    servers = []

    def make(*, has_page: bool = True) -> httpx2.Client:
        crt, key = certificate
        port = find_free_port()
        fields = {"port": port, "certificate_file": str(crt), "key_file": str(key)}
        page = load_page(page_folder) if has_page else None
        api = Api(context, RequestChallenges(clock), Operations(context))
        server = HttpServer(api.app(page), home, msgspec.convert(fields, ArchiveSettings))
        server.start()
        verify = ssl.create_default_context(cafile=str(crt))
        client = httpx2.Client(verify=verify, base_url=f"https://localhost:{port}")
        servers.append((server, client))
        return client

    yield make
    for server, client in servers:
        client.close()
        server.stop()


@pytest.mark.system
def test_page_and_api_are_served_over_tls(serve: Any) -> None:  # noqa: ANN401 - the fixture's function
    client = serve()

    for path in ("/", "/page/index.html", "/page/texts.de.json", "/page/start.json"):
        reply = client.get(path)
        assert reply.status_code == 200, path
        assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
    start = client.get("/page/start.json").json()
    assert (start["entry"], start["archive"], start["speakers"]) == ("archive", None, [])
    assert client.get("/v1/archive").json()["archive"].startswith("ed25519:")
    for path in ("/page/session", "/page/receipt", "/page/none.js", "/page/../roster.json"):
        assert client.get(path).json()["error"] == "path"


@pytest.mark.system
def test_without_the_page_the_api_is_served_alone(serve: Any) -> None:  # noqa: ANN401 - the fixture's function
    client = serve(has_page=False)

    assert client.get("/v1/archive").status_code == 200
    for path in ("/", "/page/index.html", "/page/start.json"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "text",
    [
        "[archive]\npage = true",
        "[archive]\npage = true\nport = 8443",
        "[archive]\npage = true\ncertificate_file = 'a.crt'\nkey_file = 'a.key'",
    ],
)
def test_page_is_refused_without_tls(text: str) -> None:
    with pytest.raises(ConfigError, match=r"archive\.page needs") as refused:
        parse_settings(text, "a.toml")
    assert "https only" in refused.value.hint


def test_page_is_off_by_default() -> None:
    assert parse_settings("", "a.toml").archive.page is False
    assert page_of(Config()) is None


def test_installation_without_the_page_says_so_in_one_line(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    settings = Config(archive=ArchiveSettings(page=True))

    assert page_of(settings, tmp_path) is None

    (record,) = caplog.records
    assert "only the API is served" in record.message
    assert "\n" not in record.message


def test_files_of_other_names_are_not_served(page_folder: Path) -> None:
    secret = page_folder.parent / "secret.txt"
    secret.write_text("secret", "utf-8")
    for name in ("notes", "PAGE.JS", ".hidden.js", "a b.js", "page.map", "page.py"):
        (page_folder / name).write_text("x", "utf-8")
    (page_folder / "folder.js").mkdir()

    assert set(load_page(page_folder)) == {"index.html", "texts.de.json"}


def test_bounds_of_a_page(page_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PageMissing, match=r"no browser page"):
        load_page(tmp_path / "none")
    (page_folder / "page.js").write_bytes(bytes(FILE_LIMIT_BYTES + 1))
    with pytest.raises(ConfigError, match="longer than"):
        load_page(page_folder)
    (page_folder / "page.js").unlink()
    for number in range(MOST_FILES):
        (page_folder / f"a{number}.js").write_text("", "utf-8")
    with pytest.raises(ConfigError, match="more than"):
        load_page(page_folder)


def test_not_mine_erases_and_counts_by_speaker_without_a_name(
    ada: "OwnerClient", clip_factory: "ClipFactory", home: Path
) -> None:
    first, second, third = (clip_factory.put() for _ in range(3))

    receipt = ada.request("erase", clips=[first.clip, second.clip], not_mine=True).json()
    ada.request("erase", clips=[third.clip])
    again = ada.request("erase", clips=[first.clip], not_mine=True).json()

    assert sorted(receipt["receipt"]["clips"]) == sorted([first.clip, second.clip])
    assert again["receipt"]["count"] == 0
    path = home / "archive" / WRONG_ATTRIBUTIONS
    assert path.read_bytes() == b'{"hall":2}'
    rows = [row["op"] for row in ada.log_rows()]
    assert rows.count("erase") == 3


def test_not_mine_of_another_owners_clip_counts_nothing(
    bob: "OwnerClient", clip_factory: "ClipFactory", home: Path
) -> None:
    clip = clip_factory.put().clip

    reply = bob.request("erase", clips=[clip], not_mine=True)

    assert reply.json()["receipt"]["count"] == 0
    assert WrongAttributions(home / "archive" / WRONG_ATTRIBUTIONS).read() == {}


def test_not_mine_needs_clips(ada: "OwnerClient") -> None:
    for fields in ({"all": True}, {"from": "2026-11-22T08:00:00.000Z"}):
        assert ada.request_ticket("erase", not_mine=True, **fields).status_code == 422
    assert ada.request_ticket("erase", clips=[], not_mine=True).status_code == 422


def test_damaged_counts_begin_again_and_erase_all_the_same(
    ada: "OwnerClient", clip_factory: "ClipFactory", home: Path
) -> None:
    path = home / "archive" / WRONG_ATTRIBUTIONS
    for data in (b"", b"[1]", b'{"hall":-1}', b"[" * 5000):
        path.write_bytes(data)
        reply = ada.request("erase", clips=[clip_factory.put().clip], not_mine=True)
        assert reply.json()["receipt"]["count"] == 1
        assert path.read_bytes() == b'{"hall":1}'
    path.unlink()
    path.mkdir()  # cannot be written

    reply = ada.request("erase", clips=[clip_factory.put().clip], not_mine=True)

    assert reply.json()["receipt"]["count"] == 1
