"""The lines that a guide prints, with the computer on which each is typed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GUIDES: Final = Path(__file__).resolve().parents[2] / "docs" / "guides"
GUIDE: Final = GUIDES / "first-day.md"
HUB_GUIDE: Final = GUIDES / "first-day-hub.md"
MOST_LINES: Final = 12
MOST_HUB_LINES: Final = 19
_BLOCK: Final = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PLACE: Final = re.compile(r"\*\*On ([a-z' -]+)\*\*")
_FIRST: Final = "## Install\n"
_LAST: Final = "## Afterwards\n"


@dataclass(frozen=True, slots=True)
class Line:
    """One typed line."""

    place: str
    """Such as ``the hub`` or ``your computer``."""
    text: str


def read_lines(text: str, first: str = _FIRST, last: str = _LAST) -> list[Line]:
    """Return the lines of the guide's blocks, in their order.

    Args:
        text: of the guide. Before a block stands in bold where its lines are typed.
        first: heading at which the blocks begin; empty for the begin of the guide.
        last: heading before which they end; empty for the end of the guide.
    """
    part = text[text.index(first) : text.index(last) if last else None]
    lines = []
    for block in _BLOCK.finditer(part):
        place = _PLACE.findall(part[: block.start()])[-1]
        lines += [Line(place, line) for line in block[1].splitlines() if line.strip()]
    return lines


def faults(lines: list[Line], most: int = MOST_LINES) -> list[str]:
    """Return what is wrong with the lines: too many, or several commands in one."""
    found = [] if len(lines) <= most else [f"{len(lines)} lines, more than {most}"]
    return found + [
        f"more than one command in: {line.text}"
        for line in lines
        if re.search(r"[;|`]|&&|\\$|\$\(", line.text)
    ]
