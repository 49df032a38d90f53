"""A few seconds of three floods of ``make adversary``."""

from pathlib import Path

import pytest

from tests.adversary.flood_runner import KINDS, Kind, run_flood

pytestmark = pytest.mark.system

SHORT = ("open-challenges", "half-open-tcp", "forged-refusals")
SECONDS = 4.0
PATIENCE_S = 60.0
"""The time is not judged here: the machine may be busy."""


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in SHORT], ids=lambda kind: kind.name
)
def test_owner_and_other_speaker_are_served_during_a_flood(tmp_path: Path, kind: Kind) -> None:
    result = run_flood(tmp_path, kind, SECONDS, allowed_s=PATIENCE_S)

    assert result.faults == [], result.lines
    assert result.attempts > 0
