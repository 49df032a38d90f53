"""The guide of the first day has at most twelve lines; `make first-day` types them."""

from pathlib import Path

import pytest

from listener.cli.main import main
from tests.first_day import guide
from tests.first_day.guide import Line


def test_guide_has_at_most_twelve_lines_of_one_command_each() -> None:
    lines = guide.read_lines(guide.GUIDE.read_text("utf-8"))

    assert guide.faults(lines) == []
    assert {line.place for line in lines} == {"your computer", "the board"}
    assert len(lines) > 8


def test_guide_of_a_hub_has_at_most_nineteen_lines_of_one_command_each() -> None:
    lines = guide.read_lines(guide.HUB_GUIDE.read_text("utf-8"))

    assert guide.faults(lines, guide.MOST_HUB_LINES) == []
    assert {line.place for line in lines} == {"your computer", "the hub", "the speaker"}
    assert len(lines) > 15


@pytest.mark.parametrize("text", ["a; b", "a && b", "a | b", "a $(b)", "a \\"])
def test_several_commands_in_a_line_are_found(text: str) -> None:
    assert guide.faults([Line("the board", text)])


def test_too_many_lines_are_found() -> None:
    assert guide.faults([Line("the board", "a")] * 13)


@pytest.mark.parametrize("file", [guide.GUIDE, guide.HUB_GUIDE])
def test_commands_of_the_guide_exist(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in guide.read_lines(file.read_text("utf-8")):
        words = line.text.removeprefix("sudo ").split()
        if words[0] == "earmark":
            assert main([words[1], "--help"]) == 0
    assert "usage" in capsys.readouterr().out
