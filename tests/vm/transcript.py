"""Print the output of a command, and write it between two markers in docs/engineering-log/vm.md."""

import re
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "engineering-log" / "vm.md"
_COLOUR: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""Control sequences of a terminal; systemd writes colours with colons too."""


def plain(text: str) -> str:
    """Return a text without control sequences."""
    return _COLOUR.sub("", text)


class Transcript:
    """Lines in the order of events."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, text: str = "") -> None:
        """Print and store a line, without colours."""
        text = plain(text)
        print(text, flush=True)
        self._lines.append(text)

    def write(self, name: str, file: Path = FILE) -> None:
        """Replace the transcript of the last run of this name.

        Raises:
            ValueError: the file has no markers of this name.
        """
        text = file.read_text("utf-8")
        begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->\n"
        before, found, rest = text.partition(begin)
        _, also, after = rest.partition(end)
        if not (found and also):
            raise ValueError(f"{file.name} has no markers for {name}")
        told = "\n".join(self._lines)
        file.write_text(f"{before}{begin}```\n{told}\n```\n{end}{after}", "utf-8")
