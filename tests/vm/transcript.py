"""What a command saw, written into docs/vm.md between two marks and printed as it comes."""

from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "vm.md"


class Transcript:
    """Lines for people, in the order in which things happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, text: str = "") -> None:
        """Print a line, and keep it."""
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
