"""Writes a command's output between two marks in docs/engineering-log/vm.md, and prints it."""

import re
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "engineering-log" / "vm.md"
_COLOUR: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What a terminal takes for a command: colours above all, which systemd writes with colons too."""


def plain(text: str) -> str:
    """Return what a person reads of it."""
    return _COLOUR.sub("", text)


class Transcript:
    """Lines for people, in the order in which things happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, text: str = "") -> None:
        """Print a line, and keep it; a terminal's colours are left out."""
        text = plain(text)
        print(text, flush=True)
        self._lines.append(text)

    def write(self, name: str, file: Path = FILE) -> None:
        """Put all of it in place of what the last run of this name left there.

        Raises:
            ValueError: the file has no such marks.
        """
        text = file.read_text("utf-8")
        begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->\n"
        before, found, rest = text.partition(begin)
        _, also, after = rest.partition(end)
        if not (found and also):
            raise ValueError(f"{file.name} has no marks for {name}")
        told = "\n".join(self._lines)
        file.write_text(f"{before}{begin}```\n{told}\n```\n{end}{after}", "utf-8")
