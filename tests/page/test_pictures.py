"""The pictures of the browser page in the documents; `make pictures` writes them anew."""

import os
import struct
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.pictures import BROWSER, FOLDER

if TYPE_CHECKING:
    from tests.page.conftest import Clips, Scene

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 120_000


@pytest.mark.system
@pytest.mark.timeout(600)
def test_pictures_of_the_page_are_taken(
    clips: "Clips", scene_of: Callable[..., "Scene"], tmp_path: Path
) -> None:
    target = ROOT / os.environ["EARMARK_PICTURES"] if "EARMARK_PICTURES" in os.environ else tmp_path
    made = [
        clips.put(ago=timedelta(hours=hours), word=word, sound=sound)
        for hours, word, sound in (
            (75, "alexa", "near.flac"),
            (51, "hey-jarvis", "alexa.flac"),
            (50, "alexa", "near.flac"),
            (27, "alexa", "alexa.flac"),
            (3, "hey-jarvis", "near.flac"),
            (1, "alexa", "alexa.flac"),
        )
    ]
    clips.close()
    scene = scene_of()
    browser = scene.browser
    browser.show_at(900, 760, "light")
    browser.open(scene.next_address())
    browser.photograph(target / "browser-key.png")
    browser.upload("[data-field=file]", scene.card)
    browser.wait_for(".list")
    for clip in made[-2:]:
        browser.click(f"[data-clip='{clip.clip}']")
        browser.wait_for("audio[data-played]")
    browser.evaluate("scrollTo(0, document.body.scrollHeight)")
    browser.photograph(target / "browser-clips.png")
    browser.click("[data-view=log]")
    browser.wait_for("[data-verified]")
    browser.evaluate("scrollTo(0, 0)")
    browser.photograph(target / "browser-log.png")
    browser.show_at(360, 760, "dark")
    browser.click("[data-view=clips]")
    browser.wait_for(f"[data-clip='{made[-1].clip}']")
    browser.click(f"[data-clip='{made[-1].clip}']")
    browser.wait_for("audio[data-played]")
    browser.evaluate("scrollTo(0, document.body.scrollHeight)")
    browser.photograph(target / "browser-phone.png")

    for name in BROWSER:
        width, height = struct.unpack(">II", (target / name).read_bytes()[16:24])
        assert (width, height) == ((360, 760) if name == "browser-phone.png" else (900, 760))
        assert (target / name).stat().st_size <= LARGEST_BYTES


def test_documents_have_small_pictures_of_the_page() -> None:
    for name in BROWSER:
        assert (FOLDER / name).stat().st_size <= LARGEST_BYTES, "make pictures"
