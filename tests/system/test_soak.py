"""A few minutes of ``make soak``."""

from pathlib import Path

import pytest

from benchmarks.soak.run import Plan, soak

pytestmark = pytest.mark.system


@pytest.mark.timeout(600)
def test_counters_add_up_under_random_faults(tmp_path: Path) -> None:
    said: list[str] = []
    plan = Plan(sound_s=240, seed=7, pause_s=0.7, tape_s=150, patience_s=400)

    result = soak(tmp_path, plan, said.append)

    assert result.wrong == [], said
    assert result.accounts.heard_s >= plan.sound_s
    assert result.accounts.tallies > 3
    assert result.events["sealed"] > 0
    assert sum(result.faults.values()) > 5
    assert result.lives["hear"] == 1, "the ear outlived all of it"
