"""The documentation site: it builds without a warning, and a page requests nothing elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks import site

ROOT = Path(__file__).resolve().parents[1]
LOADS = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "input": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
"""Elements that make a browser request something, and the attribute that says what."""
COMMENT = re.compile(r"/\*.*?\*/|(?:<|\\3c )!--.*?-->", re.DOTALL)
"""Comments of scripts, styles and drawings, the last also as an escape within a style."""
ADDRESS = re.compile(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
QUOTED = re.compile(rf"(?<=[\"'`]){ADDRESS.pattern}", re.IGNORECASE)
"""An address in a string of a script; what else looks like one is a regular expression."""
NAMESPACE = "http://www.w3.org"
"""The names of SVG and XHTML begin with it; a browser requests none of them."""


class Loads(HTMLParser):
    """Collects what a page makes a browser request, in elements, styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code = tag if tag in ("script", "style") else ""
        named = dict(attrs)
        if named.get("rel") == "canonical":
            return
        for value in (named.get(LOADS.get(tag, "")), named.get("srcset")):
            if value:
                self.found.append(value)
        if named.get("style"):
            self.found += ADDRESS.findall(str(named["style"]))

    def handle_data(self, data: str) -> None:
        if self._code:
            self.found += written(data, "." + {"script": "js", "style": "css"}[self._code])


def written(text: str, ending: str) -> list[str]:
    """Return the addresses in a script or a style, without those in comments."""
    pattern = QUOTED if ending == ".js" else ADDRESS
    return pattern.findall(COMMENT.sub("", text))


def elsewhere(addresses: list[str]) -> list[str]:
    """Return the addresses that name a host."""
    return [a for a in addresses if urlsplit(a).netloc and not a.startswith(NAMESPACE)]


def requested(file: Path) -> list[str]:
    """Return the addresses on other hosts that a built file requests."""
    text = file.read_text("utf-8")
    if file.suffix == ".html":
        page = Loads()
        page.feed(text)
        return elsewhere(page.found)
    return elsewhere(written(text, file.suffix))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does, in a folder of the test's own."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.system
def test_every_document_becomes_a_page(built: Path) -> None:
    documents = (ROOT / "docs").rglob("*.md")
    pages = {
        built / file.relative_to(ROOT / "docs").with_suffix(".html")
        for file in documents
        if file.name not in ("README.md", "template.md")
    }

    assert [str(page) for page in sorted(pages) if not page.exists()] == []


@pytest.mark.system
def test_pages_request_nothing_from_other_hosts(built: Path) -> None:
    files = [file for file in built.rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")]

    found = {str(file.relative_to(built)): requested(file) for file in files}

    assert (built / "index.html") in files
    assert {name: addresses for name, addresses in found.items() if addresses} == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<link href="https://fonts.googleapis.com/css" rel="stylesheet">'),
        ("a.html", '<link href="//cdn.example.com/a.css" rel="stylesheet">'),
        ("a.html", '<script src="https://unpkg.com/mermaid"></script>'),
        ("a.html", "<style>@import url(https://fonts.example.com/a.css);</style>"),
        ("a.html", '<script>fetch("https://api.example.com/a")</script>'),
        ("a.html", '<p style="background: url(https://example.com/a.png)">'),
        ("a.css", "@font-face {src: url('//fonts.example.com/a.woff2')}"),
        ("a.js", 'load("https://unpkg.com/mermaid@11")'),
    ],
)
def test_request_to_another_host_is_detected(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text, "utf-8")

    assert requested(file)


def test_link_is_not_a_request(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text('<a href="https://age-encryption.org">age</a><img src="a.svg">', "utf-8")

    assert requested(file) == []


def test_hook_removes_addresses_and_source_maps(tmp_path: Path) -> None:
    scripts = tmp_path / "assets" / "javascripts"
    scripts.mkdir(parents=True)
    (scripts / "bundle.js").write_text('load("https://unpkg.com/mermaid@11/m.js");load("a.js")')
    (scripts / "bundle.js.map").write_text("{}")

    site.on_post_build({"site_dir": str(tmp_path)})

    assert (scripts / "bundle.js").read_text() == 'load("about:blank");load("a.js")'
    assert not (scripts / "bundle.js.map").exists()
