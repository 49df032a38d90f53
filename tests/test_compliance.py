"""The compliance page names tests that exist, and each row has evidence or says its gap."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests import named_tests

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = (ROOT / "docs" / "explanation" / "compliance.md").read_text("utf-8")
COLUMNS: Final = "| What the project does | Shown by | Gap |"
REQUIREMENTS: Final = {
    "Cyber Resilience Act, Annex I, part I": [
        "(1)",
        *(f"(2)({letter})" for letter in "abcdefghijklm"),
    ],
    "Cyber Resilience Act, Annex I, part II": [f"({number})" for number in range(1, 9)],
    "ETSI EN 303 645": [*(f"5.{number}" for number in range(1, 14)), "6"],
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its head."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    assert lines[0].endswith(COLUMNS)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_tests_named_by_the_page_exist() -> None:
    assert len(named_tests.named(PAGE)) > 50
    assert named_tests.absent(PAGE) == []


def test_missing_test_is_reported() -> None:
    text = "`tests/none.py`, `tests/test_compliance.py::absent`, `tests/test_compliance.py::rows`"

    assert named_tests.absent(text) == ["tests/none.py", "tests/test_compliance.py::absent"]


@pytest.mark.parametrize(("heading", "numbers"), REQUIREMENTS.items())
def test_every_requirement_has_a_row(heading: str, numbers: list[str]) -> None:
    assert [row[0].partition(" ")[0] for row in rows(heading)] == numbers


@pytest.mark.parametrize("heading", [*REQUIREMENTS, "NIST IR 8425"])
def test_every_row_names_a_test_or_a_gap(heading: str) -> None:
    for requirement, measure, shown, gap in rows(heading):
        assert measure, requirement
        assert gap, requirement
        assert named_tests.named(shown) or gap != "none known", requirement


def test_page_states_the_dates_of_the_regulation() -> None:
    duties = PAGE.partition("## Duties of a person")[2]

    dates = set(re.findall(r"\b20\d\d-\d\d-\d\d\b", duties.partition("## Sources")[0]))

    assert dates == {"2026-09-11", "2027-12-11"}
