"""An archive in a folder, and a receiver in front of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.receive import Receiver
from listener.archive.store import FileStore

if TYPE_CHECKING:
    from tests.conftest import Household

NOON_S = 1_795_348_800.0


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "archive"


@pytest.fixture
def store(folder: Path) -> Iterator[FileStore]:
    opened = FileStore(folder)
    yield opened
    opened.close()


@pytest.fixture
def receiver(store: FileStore, household: "Household") -> Receiver:
    return Receiver(store, household.home.roster, lambda: NOON_S)
