"""The lines that docs/guides/first-day.md prints, with the computer on which each is typed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

GUIDE: Final = Path(__file__).resolve().parents[2] / "docs" / "guides" / "first-day.md"
MOST_LINES: Final = 12
_BLOCK: Final = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PLACE: Final = re.compile(r"\*\*On (your computer|the board)\*\*")
_FIRST: Final = "## Install\n"
_LAST: Final = "## Afterwards\n"

Place = Literal["your computer", "the board"]


@dataclass(frozen=True, slots=True)
class Line:
    """One typed line."""

    place: Place
    text: str


def read_lines(text: str) -> list[Line]:
    """Return the lines of the guide's blocks, in their order.

    Args:
        text: of the guide. Before a block stands in bold where its lines are typed.
    """
    part = text[text.index(_FIRST) : text.index(_LAST)]
    lines = []
    for block in _BLOCK.finditer(part):
        place = _PLACE.findall(part[: block.start()])[-1]
        lines += [Line(place, line) for line in block[1].splitlines() if line.strip()]
    return lines


def faults(lines: list[Line]) -> list[str]:
    """Return what is wrong with the lines: too many, or several commands in one."""
    found = [] if len(lines) <= MOST_LINES else [f"{len(lines)} lines, more than {MOST_LINES}"]
    return found + [
        f"more than one command in: {line.text}"
        for line in lines
        if re.search(r"[;|`]|&&|\\$|\$\(", line.text)
    ]
