"""Fixtures for tests of the installer and the package."""

from pathlib import Path

import pytest

from tests.firmware.packages import small_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small package, in a folder of its own."""
    return small_package(tmp_path_factory.mktemp("package"))
