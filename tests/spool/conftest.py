"""A spool on a machine whose running time the test sets."""

from pathlib import Path

import pytest

from listener.config import SpoolSettings
from listener.spool.queue import Spool
from tests.spool.machine import MIB, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path, clock: FakeClock) -> Spool:
    return Spool(folder, SpoolSettings(most_clips=5, longest_bytes=MIB, oldest_s=3600), clock)
