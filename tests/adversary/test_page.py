"""The page of ``make adversary``, and the parts of the run that need no processes."""

import errno
from pathlib import Path

import pytest

from tests.adversary.flood_runner import NAMES
from tests.adversary.small_disk import SmallDisk, can_mount
from tests.conftest import ROOT
from tests.vm.transcript import Transcript

PAGE = ROOT / "docs" / "engineering-log" / "adversary.md"


def test_page_explains_every_flood() -> None:
    text = PAGE.read_text("utf-8")

    assert [name for name in NAMES if f"| `{name}` |" not in text] == []


def test_page_takes_the_transcript(tmp_path: Path) -> None:
    page = tmp_path / "adversary.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    transcript = Transcript()
    transcript.say("what was measured")

    transcript.write("make adversary", page)

    assert "```\nwhat was measured\n```" in page.read_text("utf-8")


def test_full_disk_refuses_a_byte_until_it_is_emptied(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("mounting a file system is not permitted")
    place = tmp_path / "disk"
    place.mkdir()
    disk = SmallDisk(place, 1 << 20)
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left") as caught:
            (place / "file").write_bytes(b"x")
        disk.empty()
        (place / "file").write_bytes(b"x" * 1000)
    finally:
        disk.close()

    assert caught.value.errno == errno.ENOSPC
    assert list(place.iterdir()) == []
