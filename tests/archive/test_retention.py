"""Sweeps, by clocks that are steady and clocks that jump."""

from typing import TYPE_CHECKING

import pytest

from listener.archive.retention import Retention
from tests.archive.shelf import CountingStore

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock


def test_retention_sweeps_after_each_steady_hour(clock: "FakeClock", wall: "FakeClock") -> None:
    store = CountingStore()
    retention = Retention(store, wall, clock)
    began_s = int(wall.now_s)
    for _ in range(8):
        clock.now_s += 1200
        wall.now_s += 1200
        retention.look()

    assert store.sweeps == [began_s + 3600, began_s + 7200]


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, 3e8])
def test_a_clock_that_jumps_puts_retention_off(
    clock: "FakeClock", wall: "FakeClock", jump_s: float
) -> None:
    store = CountingStore()
    retention = Retention(store, wall, clock)
    clock.now_s += 3599
    wall.now_s += 3599 + jump_s
    retention.look()
    clock.now_s += 3599
    wall.now_s += 3599
    retention.look()

    assert store.sweeps == []

    clock.now_s += 2
    wall.now_s += 2
    assert retention.look() == 1
