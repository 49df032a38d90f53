"""Ten thousand clips: the list scrolls, and memory and document stay bounded."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.page.conftest import Clips, Scene

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CLIPS = 10_000
MOST_ROWS = 80
MOST_HEAP_BYTES = 48 << 20


def heap_bytes(scene: "Scene") -> int:
    """Memory of the page's objects; only Chromium tells it, and 0 stands for it elsewhere."""
    if not scene.browser.is_chromium:
        return 0
    scene.browser.send("HeapProfiler.collectGarbage")
    found: int = scene.browser.send("Runtime.getHeapUsage")["usedSize"]
    return found


def test_list_of_ten_thousand_clips_scrolls_in_bounded_memory(
    clips: "Clips", scene_of: Callable[..., "Scene"]
) -> None:
    newest = clips.put()
    clips.put_many(CLIPS - 1)
    clips.close()
    scene = scene_of()
    browser = scene.enter()
    before = heap_bytes(scene)

    browser.select("[data-field=period]", "all")
    browser.wait("document.querySelector('[data-count]').textContent.startsWith('10,000')")
    assert browser.count("[data-clip]") <= MOST_ROWS
    seen = set()
    for part in range(21):
        browser.evaluate(
            "(list => { list.scrollTop = (list.scrollHeight - list.clientHeight)"
            f" * {part / 20}; }})(document.querySelector('.list'))"
        )
        # The list draws when it is told that it was scrolled: in the frame before this one's end.
        browser.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert 0 < browser.count("[data-clip]") <= MOST_ROWS
        seen.add(browser.evaluate("document.querySelector('[data-clip]').dataset.clip"))
    assert len(seen) == 21
    assert heap_bytes(scene) - before < MOST_HEAP_BYTES

    # By the keyboard alone, from the oldest to the newest.
    browser.evaluate("document.querySelector('.list').focus()")
    browser.press("End")
    browser.wait(
        "document.querySelector('[aria-selected=true]')?.getAttribute('aria-posinset') === '10000'"
    )
    browser.press("Home")
    browser.wait(
        f"document.querySelector('[aria-selected=true]')?.dataset.clip === '{newest.clip}'"
    )
    browser.press("Enter")
    browser.wait_for("audio[data-played]")
    assert heap_bytes(scene) - before < MOST_HEAP_BYTES
