"""The page of an export: every version is known, and it has no form and no script."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from listener.rights.export_page import EXPORT_PAGE, KNOWN_PAGES, is_known_page

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http-api.md"


class Tags(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str | None]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)


def test_page_of_this_version_is_known() -> None:
    assert is_known_page(EXPORT_PAGE.encode())
    assert not is_known_page(EXPORT_PAGE.replace("me.key", "you.key").encode())


def test_pages_of_earlier_versions_stay_known() -> None:
    assert {
        "e8ef6d4f00099a799cf5a13359eddcac3d2a5651c3534ed3a9dd45e32449d663",
        "8c708ad6f87aa4b9c95cc868de00252c9415234ab647fbe604abfb06f9c6ffb8",
        "8e4403ab58c2018bf33f2a5dcbd4c9c74eaad7d9eeb71f3b642d119d0c658bcc",
    } < KNOWN_PAGES


def test_reference_lists_every_known_page() -> None:
    text = REFERENCE.read_text("utf-8").partition("### An export without Earmark")[2]

    assert set(re.findall(r"^[0-9a-f]{64}$", text.partition("###")[0], re.MULTILINE)) == KNOWN_PAGES


def test_page_has_no_form_and_no_script() -> None:
    page = Tags(EXPORT_PAGE)

    assert not {"form", "input", "script", "iframe", "object", "embed", "base", "link", "img"} & {
        *page.tags
    }
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.attributes["href"] == ["https://age-encryption.org"]


def test_policy_of_the_page_allows_its_style_alone() -> None:
    style = re.findall(r"<style>(.*?)</style>", EXPORT_PAGE, re.DOTALL)
    policies = Tags(EXPORT_PAGE).attributes["content"]

    assert len(style) == len(policies) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert " ".join((policies[0] or "").split()) == (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    )
