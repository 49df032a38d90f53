"""The same page, served over https by the archive itself where the household switched it on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.page.browser import Browser
from tests.page.conftest import require_page, start_archive, write_card
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
