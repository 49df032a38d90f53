"""The player with fakes around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.player.player_fixture import PlayerFixture


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PlayerFixture]:
    bench = PlayerFixture(tmp_path)
    yield bench
    bench.close()
