"""The same page, served over https by the archive itself where the household switched it on."""

import http.server
import json
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.browser_page.page_files import built_folder, load_page
from tests.page.browser import Browser
from tests.page.conftest import require_page, start_archive, write_card
from tests.page.relay import SilentLog
from tests.page.secrets_search import assert_no_key_stored, forms_of_key, forms_of_sound

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.page.conftest import Clips
    from tests.system.conftest import Earmark

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


def test_phone_opens_clips_at_the_archive_and_keeps_the_receipt(
    clips: "Clips", household: "Household", home: Path, earmark: "Earmark", tmp_path: Path
) -> None:
    require_page()
    clip, other = clips.put(), clips.put(word="hey-jarvis")
    clips.close()
    address = start_archive(earmark, home, tmp_path, "archive.page = true")
    card = write_card(household, tmp_path / "ada.key")

    with Browser(tmp_path / "browser") as browser:
        browser.show_at(360, 760)
        browser.open(f"{address}/")
        assert "you trust that server with your key" in browser.text("#trust")
        browser.upload("[data-field=file]", card)
        browser.wait_for(f"[data-clip='{clip.clip}']")
        browser.click(f"[data-clip='{clip.clip}']")
        browser.wait_for("audio[data-played]")
        browser.click("[data-do=erase]")
        browser.click("[data-do=agree]")
        browser.wait_for("[data-erased='1']")
        browser.click("[data-do=receipt]")
        browser.wait_for("[data-view=storage]")
        browser.click("[data-view=storage]")
        browser.wait("document.querySelector('main li') !== null")
        browser.click("[data-view=log]")
        browser.wait_for("[data-op=erase]")
        # A later visit: the log must contain the head that this browser verified before.
        browser.new_tab()
        browser.open(f"{address}/")
        browser.upload("[data-field=file]", card)
        browser.wait_for(f"[data-clip='{other.clip}']")
        browser.click("[data-view=log]")
        browser.wait_for("[data-verified]")
        sent = json.dumps(browser.requests()).encode()
        for form in (*forms_of_key(household.identities["ada"]), *forms_of_sound(clip)):
            assert form not in sent
        assert_no_key_stored(browser, household.identities["ada"])
        assert browser.errors() == []


@pytest.fixture
def plain_port() -> Iterator[int]:
    """A server of the page's files over plain http, as a careless proxy would serve them."""
    require_page()
    page = load_page(built_folder())

    class Handler(SilentLog, http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = page.get(self.path.removeprefix("/page/").strip("/") or "index.html")
            self.send_response(HTTPStatus.NOT_FOUND if found is None else HTTPStatus.OK)
            if found is not None:
                self.send_header("Content-Type", found.media_type)
            self.end_headers()
            self.wfile.write(b"" if found is None else found.data)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_page_takes_no_key_over_plain_http(plain_port: int, tmp_path: Path) -> None:
    # By a name: browsers trust the addresses of loopback without https.
    rule = "--host-resolver-rules=MAP hub.example 127.0.0.1"
    with Browser(tmp_path / "browser", "chromium", rule) as browser:
        browser.open(f"http://hub.example:{plain_port}/")

        assert browser.evaluate("document.body.dataset.ready") == "failed"
        assert browser.text("#alert") == (
            "This page needs https, or http://localhost. It does not take your key here."
        )
        assert browser.count("input, textarea, [data-field=file]") == 0
        # Nothing but its own files was requested: no ticket, no start document.
        paths = {one["url"].partition(f":{plain_port}")[2] for one in browser.requests()}
        assert not [path for path in paths if "start.json" in path or path.startswith("/v1")]
