"""Networks and recordings that come with the project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from listener.inference.catalogue import Catalogue

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(Path("/nonexistent"))


@pytest.fixture
def say() -> Callable[[str], Any]:
    """Read one of the project's own recordings."""
    return lambda name: soundfile.read(FIXTURES / f"{name}.flac", dtype="int16")[0]
