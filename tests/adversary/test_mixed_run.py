"""A few seconds of the mixed run of ``make adversary``, each with its own seed."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversary.mixed_run import MixedPlan, run_mixed
from tests.adversary.small_disk import can_mount

pytestmark = pytest.mark.system


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short: that of a socket in it has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="earmark-") as name:
        yield Path(name)


def check(folder: Path, plan: MixedPlan) -> None:
    said: list[str] = []
    result = run_mixed(folder, plan, said.append)

    again = f"repeat: make adversary SECONDS=60 FLOODS=none SEED={plan.seed}"
    assert result.faults == [], f"seed {plan.seed}; {again}; {dict(result.attacks)}"
    assert result.attacks.total() > 2
    assert result.counts["clips at the archive"] > 0


def test_every_clip_is_accounted_for_with_hear(folder: Path) -> None:
    check(folder, MixedPlan(seconds=6, seed=7, pause_s=0.5, order_s=2, speed=6))


def test_every_clip_is_accounted_for_with_a_new_seed(folder: Path) -> None:
    seed = secrets.randbelow(1 << 31)
    print(f"seed {seed}")  # pytest shows it with a failure

    check(folder, MixedPlan(seconds=4, seed=seed, pause_s=0.3, order_s=2, speed=0))


def test_every_clip_is_accounted_for_on_full_disks(folder: Path) -> None:
    if not can_mount(folder):
        pytest.skip("mounting a file system is not permitted; make adversary needs it too")

    check(folder, MixedPlan(seconds=4, seed=11, pause_s=0.3, speed=0, has_disks=True))
