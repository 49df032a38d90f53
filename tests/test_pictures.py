"""The pictures of the documents equal the output of `make pictures` and are small."""

import re
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import pictures

LARGEST_BYTES = 200_000


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@pytest.mark.parametrize("name", pictures.DRAWINGS)
def test_committed_pictures_equal_their_source(name: str) -> None:
    drawn = pictures.DRAWINGS[name]()

    assert (pictures.FOLDER / name).read_text("utf-8") == drawn, "make pictures draws it anew"


@pytest.mark.parametrize("name", pictures.DRAWINGS)
def test_svg_pictures_request_nothing(name: str) -> None:
    drawn = pictures.DRAWINGS[name]()

    assert ET.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)[^\s\"')]+|@import", drawn) == []


@pytest.mark.system
def test_chromium_takes_the_report_screenshot(tmp_path: Path) -> None:
    pictures.write_report(tmp_path / pictures.REPORT)

    taken = (tmp_path / pictures.REPORT).read_bytes()
    committed = (pictures.FOLDER / pictures.REPORT).read_bytes()
    assert size(taken) == size(committed) == pictures.REPORT_PX


def test_pictures_are_small() -> None:
    files = list(pictures.FOLDER.iterdir())

    assert {file.name for file in files} == {*pictures.DRAWINGS, pictures.REPORT, *pictures.BROWSER}
    assert [file.name for file in files if file.stat().st_size > LARGEST_BYTES] == []
