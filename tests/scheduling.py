"""Distribution of tests to workers: tests that share something expensive run in one worker.

`make test` loads it as a plugin. The groups of pytest-xdist 3.8 have no effect with pytest 9.2,
which has another attribute for the id of a test. Its hook for schedulers needs only ids.
"""

import re
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARED: Final = (
    ("the demonstration", r"tests/system/test_demo\.py::test_demo_passes_every_check"),
    ("the demonstration", r"tests/test_readme\.py::test_transcript_is_what_the_demo_prints$"),
    ("a database and an object store", r"tests/archive/test_fleet_store\.py::"),
    ("a database and an object store", r"tests/archive/.*[\[-]fleet[\]-]"),
    ("the household of the guides", r"tests/system/test_guides\.py::"),
    ("the grammar of a home", r"tests/assist/understanding/test_grammar\.py::"),
    ("scores of the recordings", r"tests/test_rates\.py::"),
    ("the built documentation", r"tests/test_site\.py::test_(every_document|pages)_"),
    (
        "a recipe of a training",
        r"tests/train/test_training\.py::test_(other_seed|damaged_batch|second_training)_",
    ),
)
"""What tests share, and a pattern of their ids."""


def find_group(test: str) -> str:
    """Return what a test shares with others; its own id if it shares nothing.

    Args:
        test: the id of the test.
    """
    for group, pattern in SHARED:
        if re.match(pattern, test):
            return group
    return test


class SharedScheduling(LoadScopeScheduling):  # type: ignore[misc] # no types in pytest-xdist: its class is Any
    """Gives each group to one worker, the groups with the most tests first."""

    def _split_scope(self, nodeid: str) -> str:
        return find_group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SharedScheduling:
    """Let tests that share something expensive run in one worker."""
    return SharedScheduling(config, log)
