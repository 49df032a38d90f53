from pathlib import Path

import pytest

from tests.vm.transcript import Transcript

MARKED = "before\n<!-- make vm begins -->\nold\n<!-- make vm ends -->\nafter\n"


def test_transcript_replaces_the_previous_one(tmp_path: Path) -> None:
    file = tmp_path / "vm.md"
    file.write_text(MARKED)
    told = Transcript()
    told.say("new")

    told.write("make vm", file)
    told.write("make vm", file)

    assert file.read_text() == MARKED.replace("old", "```\nnew\n```")


def test_file_without_markers_is_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "vm.md"
    file.write_text("nothing")

    with pytest.raises(ValueError, match="no markers"):
        Transcript().write("make vm", file)

    assert file.read_text() == "nothing"


@pytest.mark.parametrize(
    "line", ["\x1b[0;1;38:5:185mlate\x1b[0m", "\x1b[1mlate\x1b[m", "\x1b[?7hlate\x1b[K", "late"]
)
def test_terminal_colours_are_removed(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vm.md"
    file.write_text(MARKED)
    told = Transcript()

    told.say(line)
    told.write("make vm", file)

    assert file.read_text() == MARKED.replace("old", "```\nlate\n```")
    assert capsys.readouterr().out == "late\n"
