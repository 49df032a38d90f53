"""Tests that a document names as evidence."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
_NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def named(text: str) -> list[tuple[str, str]]:
    """Return each file and function that a text names as ``tests/file.py::function``.

    The function is empty where a text names a whole file.
    """
    return _NAMED.findall(text)


def absent(text: str) -> list[str]:
    """Return what a text names and the test suite does not have."""
    found = []
    for file, function in named(text):
        path = ROOT / file
        if not path.is_file():
            found.append(file)
        elif function and not re.search(rf"def {function}\(", path.read_text("utf-8")):
            found.append(f"{file}::{function}")
    return found
