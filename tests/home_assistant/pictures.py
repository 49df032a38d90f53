"""Photograph the pages of Home Assistant's MQTT dialog with chromium, for the guide.

``python -m tests.home_assistant --pictures`` writes docs/guides/mqtt-dialog-N.png. It fills in
the dialog by the methods of its page's elements, which are those of one version of Home
Assistant.
"""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import httpx2
from websockets.sync.client import connect

from listener.errors import Unavailable
from tests.home_assistant.client import PATIENCE_S, Server
from tests.home_assistant.home import ROOT
from tests.home_assistant.install import Release
from tests.system.conftest import wait_until

FOLDER: Final = ROOT / "docs" / "guides"
_WINDOW: Final = "440,1980"
_SETTLE_S: Final = 2.0
"""Time for fonts and animations of a page."""
# The elements of the pages are in shadow trees.
_FIND: Final = """
const find = (selector, root = document) => {
    const found = [];
    const walk = (tree) => {
        for (const element of tree.querySelectorAll("*")) {
            if (element.matches(selector)) found.push(element);
            if (element.shadowRoot) walk(element.shadowRoot);
        }
    };
    walk(root);
    return found;
};
const form = () => find("step-flow-form")[0];
const has = (name) => form().step.data_schema.some((field) => field.name == name);
const fill = (fields) => {
    form()._stepData = {...form()._stepData, ...fields};
    form().requestUpdate();
};
"""
_ONBOARDED: Final = {
    "version": 4,
    "minor_version": 1,
    "key": "onboarding",
    "data": {"done": ["user", "core_config", "analytics", "integration"]},
}
_PAGES: Final[tuple[tuple[str, dict[str, object]], ...]] = (
    ("broker", {"broker": "home.lan", "port": 8883, "advanced_options": True}),
    ("set_ca_cert", {"set_client_cert": True, "set_ca_cert": "custom", "protocol": "5"}),
    ("client_key", {}),
)
"""A field of each page, and what is filled in there."""


class Browser:
    """A page of chromium, driven by its DevTools protocol.

    Args:
        port: TCP port of the protocol on 127.0.0.1.
    """

    def __init__(self, port: str) -> None:
        pages = httpx2.get(f"http://127.0.0.1:{port}/json").json()
        address = next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")
        self._socket = connect(address, max_size=None, open_timeout=60, ping_interval=None)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, url: str) -> None:
        """Open a page."""
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:  # noqa: ANN401 - JSON of many shapes
        """Return the value of a script on the page, or None where it fails."""
        expression = f"(() => {{ {_FIND} return {script}; }})()"
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a condition holds on the page."""
        wait_until(lambda: self.run(condition), condition, PATIENCE_S)

    def photograph(self, file: Path) -> None:
        """Write a picture of the page as PNG."""
        time.sleep(_SETTLE_S)
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: object) -> Any:  # noqa: ANN401 - as above
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE_S))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]


def draw(program: Path, release: Release) -> None:
    """Write the pictures.

    Args:
        program: the program ``hass``.
        release: its version.

    Raises:
        Unavailable: chromium is not installed.
    """
    with tempfile.TemporaryDirectory() as name:
        server = Server(program, release, Path(name) / "ha")
        server.start()
        try:
            server.onboard()
            # As "Advanced mode" in the profile.
            server.call("frontend/set_user_data", key="core", value={"showAdvanced": True})
            server.stop()
            onboarding = Path(name) / "ha" / ".storage" / "onboarding"
            onboarding.write_text(json.dumps(_ONBOARDED))
            server.start()
            with _open_browser(Path(name) / "profile") as browser:
                _photograph_pages(browser, server)
        finally:
            server.stop()


def _photograph_pages(browser: Browser, server: Server) -> None:
    # Any file of the same address, to store the token where the pages look for it.
    browser.open(f"{server.url}/manifest.json")
    browser.wait_for(f"location.href.startsWith({json.dumps(server.url)})")
    tokens = json.dumps(json.dumps(server.browser_tokens()))
    browser.run(f"localStorage.setItem('hassTokens', {tokens})")
    browser.open(f"{server.url}/config/integrations/dashboard/add?domain=mqtt")
    browser.wait_for("find('ha-button', find('dialog-box')[0].shadowRoot).length == 2")
    browser.run("find('ha-button', find('dialog-box')[0].shadowRoot)[1].click()")
    for number, (name, fields) in enumerate(_PAGES, 1):
        browser.wait_for(f"has({json.dumps(name)})")
        browser.run(f"fill({json.dumps(fields)})")
        browser.photograph(FOLDER / f"mqtt-dialog-{number}.png")
        browser.run("form()._submitStep()")


@contextmanager
def _open_browser(profile: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        raise Unavailable("chromium is not installed", "install it: make debian")
    words = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    with subprocess.Popen(
        [
            *(program, *words, "--remote-debugging-port=0"),
            *(f"--user-data-dir={profile}", f"--window-size={_WINDOW}", "about:blank"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            file = profile / "DevToolsActivePort"
            wait_until(lambda: file.exists() and "\n" in file.read_text(), "chromium", PATIENCE_S)
            with Browser(file.read_text().split()[0]) as browser:
                yield browser
        finally:
            process.terminate()
