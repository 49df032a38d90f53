"""The page for everybody: accessibility, languages, colours, narrow screens; and its pictures."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from firmware import browser_page

if TYPE_CHECKING:
    from tests.page.browser import Browser
    from tests.page.conftest import Clips, Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

VIEWS = ("clips", "log", "storage", "voice", "trust")


def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(
        (browser_page.SOURCE / "texts" / f"{language}.json").read_text("utf-8")
    )
    return found


def check(browser: "Browser", where: str) -> None:
    assert browser.violations() == [], where
    for width in (320, 1000):
        browser.show_at(width, 720)
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), where


def show(browser: "Browser", view: str) -> None:
    browser.click(f"[data-view={view}]")
    browser.wait(
        f"document.querySelector('[data-view={view}]').getAttribute('aria-current') === 'page'"
    )
    browser.wait(
        "document.querySelector('main h2') !== null && !document.body.hasAttribute('aria-busy')"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible(
    clips: "Clips", scene_of: Callable[..., "Scene"], scheme: str
) -> None:
    clip = clips.put()
    clips.put(word="hey-jarvis")
    clips.close()
    scene = scene_of()
    browser = scene.browser
    browser.show_at(1000, 720, scheme)
    browser.open(scene.next_address())
    for part in ("key.make", "key.answer"):
        browser.click(f"[data-part='{part}'] summary")
        browser.wait_for(f"[data-part='{part}'] form")
    check(browser, "key")
    browser.upload("[data-field=file]", scene.card)
    browser.wait_for(f"[data-clip='{clip.clip}']")
    for view in VIEWS:
        show(browser, view)
        check(browser, view)
    show(browser, "clips")
    browser.click(f"[data-clip='{clip.clip}']")
    browser.wait_for("audio[data-played]")
    check(browser, "a clip")
    browser.click("[data-do=erase]")
    browser.wait_for("dialog")
    check(browser, "the question")
    assert browser.evaluate("document.activeElement.dataset.do") == "refuse"
    browser.press("Escape")
    browser.wait("document.querySelector('dialog') === null")
    assert browser.count(f"[data-clip='{clip.clip}']") == 1


def test_page_speaks_four_languages(clips: "Clips", scene_of: Callable[..., "Scene"]) -> None:
    clips.put()
    clips.close()
    scene = scene_of()
    browser = scene.enter()
    for language in ("de", "es", "fr", "en"):
        browser.select("#language", language)
        wanted = texts(language)
        browser.wait(f"document.documentElement.lang === '{language}'")
        browser.wait(
            f"document.getElementById('title').textContent === {json.dumps(wanted['title'])}"
        )
        for view in VIEWS:
            show(browser, view)
            assert browser.text("main h2") == wanted[f"nav.{view}"]
            shown = browser.text("body")
            unknown = [key for key in wanted if "." in key and key in shown]
            assert unknown == [], "a key in place of its text"
            browser.show_at(320, 720)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                language,
                view,
            )
