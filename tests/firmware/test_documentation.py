"""The generated reference pages equal what the code says today."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from firmware import documentation
from firmware.command_line import commands
from firmware.configuration import docstrings
from firmware.documentation import ROOT, pages
from listener.cli import main
from listener.config import Config


@pytest.fixture(scope="module")
def made() -> Mapping[Path, str]:
    """All pages, as the code gives them."""
    return pages()


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_page_is_current(path: Path, made: Mapping[Path, str]) -> None:
    assert path.read_text("utf-8") == made[path], f"{path.relative_to(ROOT)}: make reference"


def test_every_command_has_a_section() -> None:
    headings = documentation.cli_page().splitlines()

    assert [command.name for command in commands()] == [f"earmark {name}" for name in main.COMMANDS]
    for command in commands():
        for section in (command, *command.actions):
            level = "##" if section is command else "###"
            assert headings.count(f"{level} {section.name}") == 1


def test_an_option_with_choices_shows_them() -> None:
    page = documentation.cli_page()

    assert "| `--engine {earmark,openwakeword,microwakeword,command}` |" in page


def test_every_key_is_in_the_configuration_page(made: Mapping[Path, str]) -> None:
    page = made[documentation.CONFIGURATION]

    for section in msgspec.structs.fields(Config):
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct):
            part = page.partition(f"\n## [{section.name}]\n")[2].partition("\n## ")[0]
            for field in msgspec.structs.fields(section.type):
                assert part.count(f"| `{field.name}` |") == 1


def test_docstrings_belong_to_their_attribute() -> None:
    source = (
        'A = int\n"""An\n alias."""\nclass C:\n    """A class."""\n    x: int = 1\n    """X."""\n'
    )

    assert docstrings(source) == {"A": "An alias.", "C": "A class.", "C.x": "X."}


def test_a_bound_is_shown_on_each_side_it_has(made: Mapping[Path, str]) -> None:
    page = made[documentation.CONFIGURATION]

    assert "| `volume` | number, over 0, at most 1 |" in page
    assert "| `port` | integer, 0 to 65,535 |" in page
    assert "| `near_miss_threshold` | number, over 0, under 1 |" in page
