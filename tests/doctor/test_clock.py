import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener.doctor import clock
from listener.system.findings import Finding

BUILT = datetime(2026, 3, 4, tzinfo=UTC)
NOW = BUILT + timedelta(days=30)


def looked(root: Path, now: datetime = NOW, *, synchronised: bool | None = True) -> Finding:
    return clock.check_clock(root, now, BUILT, lambda: synchronised)


def saved(root: Path, at: datetime) -> Path:
    file = root / "var" / "lib" / "systemd" / "timesync" / "clock"
    file.parent.mkdir(parents=True)
    file.touch()
    os.utime(file, (at.timestamp(), at.timestamp()))
    return root


def test_a_clock_that_the_kernel_believes_is_well(tmp_path: Path) -> None:
    (tmp_path / "sys" / "class" / "rtc" / "rtc0").mkdir(parents=True)

    finding = looked(saved(tmp_path, NOW - timedelta(minutes=5)))

    assert (finding.verdict, finding.text) == ("ok", "2026-04-03 00:00 UTC, synchronised")
    assert finding.facts == {"rtc": True, "synchronised": True}


def test_a_clock_in_1970_fails_whatever_the_kernel_believes(tmp_path: Path) -> None:
    finding = looked(tmp_path, datetime(1970, 1, 1, tzinfo=UTC))

    assert finding.verdict == "fail"
    assert finding.text.startswith("1970-01-01")


def test_a_clock_that_has_jumped_back_is_a_warning(tmp_path: Path) -> None:
    finding = looked(saved(tmp_path, NOW + timedelta(hours=1)))

    assert finding.verdict == "warn"
    assert "jumped back" in finding.text


@pytest.mark.parametrize(
    ("synchronised", "word"), [(False, "not synchronised"), (None, "nobody says")]
)
def test_a_clock_that_nobody_sets_is_a_warning(
    tmp_path: Path, *, synchronised: bool | None, word: str
) -> None:
    finding = looked(tmp_path, synchronised=synchronised)

    assert finding.verdict == "warn"
    assert word in finding.text
    assert "battery" in finding.hint


def test_the_kernel_can_be_asked() -> None:
    assert clock.is_synchronised() in (True, False, None)
