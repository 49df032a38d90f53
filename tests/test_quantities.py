"""Numbers with their nouns."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from listener.quantities import quantity


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 clips"),
        (1, "1 clip"),
        (2, "2 clips"),
        ("1", "1 clip"),
        ("1 or more", "1 or more clips"),
    ],
)
def test_number_has_its_noun(number: int | str, text: str) -> None:
    assert quantity(number, "clip") == text


def test_irregular_plural_is_given() -> None:
    assert quantity(1, "clip waits", "clips wait") == "1 clip waits"
    assert quantity(2, "clip waits", "clips wait") == "2 clips wait"


ROOT = Path(__file__).resolve().parents[1]
COUNTED = {
    *("checks", "clips", "devices", "entries", "events", "files", "frames", "items", "jumps"),
    *("keys", "kinds", "lines", "members", "messages", "minutes", "misses", "models", "others"),
    *("outputs", "owners", "pairs", "parts", "recordings", "rows", "seconds", "segments"),
    *("sounds", "speakers", "steps", "streams", "things", "times", "wakes", "wheels"),
    *("windows", "words", "workers"),
}
NEVER_ONE = {
    "listener/api.py: misses": "of a number of words, in an error for a program",
    "listener/assist/understanding/home_file.py: times": "the error is that it is more than one",
    "listener/assist/understanding/spoken_replies.py: things": "one thing is named instead",
    "listener/api.py: words": "of a number of words, in an error for a program",
    "listener/cli/clips.py: keys": "the error is that it is not one",
    "listener/cli/hear.py: recordings": "some of several",
    "listener/cli/models.py: outputs": "the error is that it is not one",
    "listener/cli/update.py: wheels": "the error is that it is not one",
    "listener/clips/session.py: clips": "the error is that it is more than one",
    "listener/evaluate/corpus/datasets.py: files": "the branch for several",
    "listener/evaluate/corpus/deduplication.py: others": "an object, not a number",
    "listener/evaluate/engines/external.py: rows": "a name, not a number",
    "listener/evaluate/presets.py: recordings": "a path, not a number",
    "listener/evaluate/progress.py: items": "one of a number of items",
    "listener/evaluate/voices/voices_figures.py: owners": "of a household of two or more",
    "listener/evaluate/voices/voices_report.py: recordings": "the greater of two numbers",
    "listener/evaluate/voices/voices_report.py: owners": "of a household of two or more",
    "listener/hear/probe/probe_process.py: devices": "the warning is that it is more than one",
    "listener/hear/seccomp.py: files": "a name, not a number",
    "listener/inference/build.py: outputs": "the branch for several",
    "listener/system/open_files.py: files": "a limit of the system, 1024 or more",
}
"""Numbers before a plural that cannot be one, with the reason."""


def plurals(file: Path) -> Iterator[str]:
    """Yield the plural nouns that follow a number which may be one, in the texts of a module."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in pairwise(node.values):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            noun = re.match(r" (?:[a-z]+ )?([a-z]+s)\b", str(text.value))
            names = {each.id for each in ast.walk(value.value) if isinstance(each, ast.Name)}
            is_constant = any(name.isupper() for name in names)
            has_decimals = value.format_spec is not None and "." in ast.unparse(value.format_spec)
            if noun and noun[1] in COUNTED and not is_constant and not has_decimals:
                yield noun[1]


def test_number_that_may_be_one_has_its_noun_from_quantities() -> None:
    found = {
        f"{file.relative_to(ROOT)}: {noun}"
        for file in sorted((ROOT / "listener").rglob("*.py"))
        for noun in plurals(file)
    }

    assert found - NEVER_ONE.keys() == set()
    assert NEVER_ONE.keys() <= found
