"""What tests share is named by patterns of ids; a test that is renamed must not leave its group."""

import re
from pathlib import Path

import pytest

from tests.scheduling import SHARED, find_group

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tests() -> list[str]:
    """The ids of the tests in the sources, also as they are with a parameter."""
    found = [
        f"{path.relative_to(ROOT)}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    ]
    return [*found, *(f"{test}[fleet]" for test in found)]


@pytest.mark.parametrize("pattern", [pattern for _, pattern in SHARED])
def test_each_pattern_is_that_of_a_test(pattern: str, tests: list[str]) -> None:
    assert any(re.match(pattern, test) for test in tests)


def test_tests_that_share_nothing_are_alone(tests: list[str]) -> None:
    name = "tests/test_scheduling.py::test_tests_that_share_nothing_are_alone"

    assert name in tests
    assert find_group(name) == name
    assert find_group("tests/archive/test_api.py::test_a_row[files]").endswith("[files]")


def test_two_files_share_the_demonstration() -> None:
    groups = {
        find_group("tests/system/test_demo.py::test_demo_passes_every_check"),
        find_group("tests/test_readme.py::test_transcript_is_what_the_demo_prints"),
    }

    assert groups == {"the demonstration"}
