"""A real browser, driven through ``driver.mjs`` by puppeteer-core."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from firmware import browser_page

DRIVER: Final = Path(__file__).with_name("driver.mjs")
PACKAGES: Final = browser_page.WORK / "node_modules"
PATIENCE_MS: Final = 90_000
NOT_BUILT: Final = "the browser page is not built: make page"
CHROMIUM_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en-US",
)
KIND_OF_ARGUMENT: Final = {"chromium": "chrome", "firefox-esr": "firefox"}


class BrowserFailed(AssertionError):
    """A command of the driver failed; the text is the driver's."""


class Browser:
    """One browser with one tab and a profile of its own. A context manager; for one thread.

    Args:
        folder: an empty folder; downloads are in ``downloads`` below it.
        program: ``chromium`` or ``firefox-esr``.
        arguments: further arguments of the browser.
    """

    def __init__(self, folder: Path, program: str = "chromium", *arguments: str) -> None:
        found = shutil.which(program)
        assert found, f"{program} is not installed: make debian"
        assert (PACKAGES / "puppeteer-core").is_dir(), NOT_BUILT
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        node, environment = browser_page.node_programs()
        self._process = subprocess.Popen(
            (*node, str(DRIVER), str(PACKAGES)),
            # Under libfaketime chromium never draws its first frame.
            env=_without_faketime(environment) | {"LANG": "C.UTF-8", "LANGUAGE": "en"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.is_chromium = program == "chromium"
        options: dict[str, object] = {
            "browser": KIND_OF_ARGUMENT[program],
            "executablePath": found,
            "headless": True,
            "acceptInsecureCerts": True,
            "userDataDir": str(folder / "profile"),
            "downloadBehavior": {"policy": "allow", "downloadPath": str(self.downloads)},
            "protocolTimeout": PATIENCE_MS,
            "timeout": PATIENCE_MS,
            "args": [*(CHROMIUM_ARGUMENTS if self.is_chromium else ()), *arguments],
        }
        if not self.is_chromium:
            options["extraPrefsFirefox"] = {
                "intl.locale.requested": "en-US",
                "browser.download.folderList": 2,
                "browser.download.dir": str(self.downloads),
                "browser.download.useDownloadDir": True,
                "browser.helperApps.neverAsk.saveToDisk": "application/zip",
            }
        self.version: str = self._send("launch", options=options)["version"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._send("close")
        except (BrowserFailed, OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def open(self, address: str) -> None:
        """Open an address, and wait until the page has started."""
        self._send("goto", url=address)
        self.wait("document.body.dataset.ready !== undefined")

    def reload(self) -> None:
        """Load the page again, and wait until it has started."""
        self._send("reload")
        self.wait("document.body.dataset.ready !== undefined")

    def new_tab(self) -> None:
        """Close the tab and open another one: its ``sessionStorage`` is empty."""
        self._send("tab")

    def evaluate(self, code: str) -> Any:  # noqa: ANN401 - what JSON holds
        """Return the value of an expression of JavaScript."""
        return self._send("evaluate", code=code)

    def wait(self, code: str) -> None:
        """Wait until an expression is true."""
        try:
            self._send("wait", code=code, timeout=PATIENCE_MS)
        except BrowserFailed as error:
            raise BrowserFailed(
                f"never: {code}; the page shows:\n{self.text()}\nits errors: {self.errors()}"
            ) from error

    def wait_for(self, selector: str) -> None:
        """Wait until an element is there."""
        self.wait(f"document.querySelector({json.dumps(selector)}) !== null")

    def text(self, selector: str = "body") -> str:
        """Return what an element shows."""
        found: str = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")
        return found or ""

    def count(self, selector: str) -> int:
        """Return the number of elements."""
        found: int = self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")
        return found

    def click(self, selector: str) -> None:
        """Click an element, once it is there."""
        self.wait_for(selector)
        self._send("click", selector=selector)

    def type(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.wait_for(selector)
        self._send("type", selector=selector, text=text)

    def press(self, key: str) -> None:
        """Press a key, such as ``ArrowDown``."""
        self._send("press", key=key)

    def select(self, selector: str, value: str) -> None:
        """Choose an option."""
        self.wait_for(selector)
        self._send("select", selector=selector, value=value)

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file."""
        self.wait_for(selector)
        self._send("upload", selector=selector, file=str(file))

    def show_at(self, width: int, height: int, scheme: str | None = None) -> None:
        """Give the view a size, and the colours ``light`` or ``dark``."""
        self._send("viewport", width=width, height=height, scheme=scheme)

    def photograph(self, file: Path) -> None:
        """Write a PNG of the view."""
        self._send("screenshot", file=str(file))

    def violations(self) -> list[dict[str, Any]]:
        """Return what axe-core objects to."""
        found: list[dict[str, Any]] = self._send("axe")
        return found

    def send(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command of Chromium's protocol."""
        found: dict[str, Any] = self._send("send", method=method, params=params)
        return found

    def requests(self) -> list[dict[str, str]]:
        """Return every request of the pages so far: method, url and body."""
        found: list[dict[str, str]] = self._send("seen")
        return found

    def errors(self) -> list[str]:
        """Return the errors in the browser's console so far."""
        found: list[str] = self._send("errors")
        return found

    def _send(self, name: str, **values: object) -> Any:  # noqa: ANN401 - what JSON holds
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Of one command, not of the test: a long visit on a busy machine is no failure.
        guard = threading.Timer(PATIENCE_MS * 2 / 1000, self._process.kill)
        guard.start()
        try:
            self._process.stdin.write(json.dumps({"name": name, **values}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            raise BrowserFailed(f"the driver ended during {name}")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserFailed(f"{name}: {answer['error']}")
        return answer["value"]


def _without_faketime(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in {**os.environ, **environment}.items()
        if name != "LD_PRELOAD" and not name.startswith("FAKETIME")
    }
