"""Sweeps, by clocks that are steady and clocks that jump."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.receive import Receiver
from listener.archive.retention import SWEEP_PAUSE_S, ExpirySweep
from listener.archive.store import FileStore
from tests.archive.crossing import cross, take_rows
from tests.archive.shelf import T_S, CountingStore, kept, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.archive.conftest import FakeClock
    from tests.conftest import Household

STOLEN = partial(cross, what="owner = case owner when 'ada' then 'bob' else 'ada' end")


def test_retention_sweeps_after_each_steady_hour(clock: "FakeClock", wall: "FakeClock") -> None:
    store = CountingStore()
    retention = ExpirySweep(store, lambda: 0, wall, clock)
    began_s = int(wall.now_s)
    for _ in range(8):
        clock.now_s += 1200
        wall.now_s += 1200
        retention.run_if_due()

    assert store.sweeps == [began_s + 3600, began_s + 7200]


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, 3e8])
def test_a_clock_that_jumps_puts_retention_off(
    clock: "FakeClock", wall: "FakeClock", jump_s: float
) -> None:
    store = CountingStore()
    retention = ExpirySweep(store, lambda: 0, wall, clock)
    clock.now_s += 3599
    wall.now_s += 3599 + jump_s
    retention.run_if_due()
    clock.now_s += 3599
    wall.now_s += 3599
    retention.run_if_due()

    assert store.sweeps == []

    clock.now_s += 2
    wall.now_s += 2
    assert retention.run_if_due() == 1


@pytest.mark.parametrize("harm", [take_rows, STOLEN])
def test_a_clip_whose_row_was_taken_is_found_by_the_next_sweep_and_ends_in_its_time(
    store: FileStore,
    receiver: Receiver,
    household: "Household",
    folder: Path,
    clock: "FakeClock",
    harm: "Callable[[FileStore], None]",
) -> None:
    wall = type(clock)(T_S)
    retention = ExpirySweep(store, partial(store.repair, receiver.verify), wall, clock)
    header = kept(store, household, ttl_s=2 * 3600)
    harm(store)
    seen = []

    for _ in range(4):
        clock.now_s += SWEEP_PAUSE_S
        wall.now_s += SWEEP_PAUSE_S
        retention.run_if_due()
        seen.append([one.clip for one in store.clips("ada")])

    assert seen[0] == [header.clip]
    assert seen[-1] == []
    assert not path_of(folder, header).exists()
