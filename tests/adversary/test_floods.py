"""A few seconds of four floods of ``make adversary``."""

from pathlib import Path

import pytest

from tests.adversary.flood_runner import KINDS, Kind, run_flood

pytestmark = pytest.mark.system

SHORT = ("open-challenges", "half-open-tcp", "log-rows", "forged-refusals")
SECONDS = 4.0


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in SHORT], ids=lambda kind: kind.name
)
def test_owner_and_other_speaker_are_served_during_a_flood(tmp_path: Path, kind: Kind) -> None:
    result = run_flood(tmp_path, kind, SECONDS)

    assert result.faults == [], result.lines
    assert result.attempts > 0
