"""Check of the archive's files: clips, quarantine, free space, devices over their limits."""

from pathlib import Path

import pytest

from listener.config import ArchiveSettings, Config
from listener.doctor import archive_files
from listener.doctor.archive_files import check_archive
from listener.storage.over_limit import OVER_LIMIT, record_over_limit
from listener.storage.reserve import Reserve
from listener.storage.wrong_attributions import WRONG_ATTRIBUTIONS, WrongAttributions
from listener.system.findings import Finding

NOW_S = 1_795_348_800


def findings(home: Path, least_free_bytes: int = 64 << 20) -> dict[str, Finding]:
    settings = ArchiveSettings(least_free_bytes=least_free_bytes)
    config = Config(home=str(home), archive=settings)
    return {each.check: each for each in check_archive(config, NOW_S)}


@pytest.fixture
def archive(home: Path) -> Path:
    """An archive with two clips and its reserve."""
    folder = home / "archive"
    for owner in ("ada", "bob"):
        (folder / "clips" / owner).mkdir(parents=True)
        (folder / "clips" / owner / "x.earmark").write_bytes(b"sealed")
    Reserve(home).refill()
    return folder


def test_machine_without_an_archive_has_no_finding(home: Path) -> None:
    assert findings(home) == {}


def test_healthy_archive_is_ok(home: Path, archive: Path) -> None:
    del archive
    found = findings(home)

    assert {name: each.verdict for name, each in found.items()} == {
        "archive": "ok",
        "device-limits": "ok",
    }
    assert found["archive"].facts["clips"] == 2


def test_quarantine_is_counted(home: Path, archive: Path) -> None:
    (archive / "quarantine" / "ada").mkdir(parents=True)
    (archive / "quarantine" / "ada" / "y.earmark").write_bytes(b"junk")

    found = findings(home)["archive"]

    assert (found.verdict, found.facts["quarantined"]) == ("warn", 1)
    assert "earmark clips list" in found.hint


def test_almost_full_disk_is_a_warning(
    home: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del archive
    monkeypatch.setattr(archive_files, "free_bytes", lambda _: 1 << 20)

    found = findings(home)["archive"]

    assert found.verdict == "warn"
    assert "almost full" in found.text
    assert "free some space" in found.hint
    assert findings(home, least_free_bytes=0)["archive"].verdict == "ok"


def test_missing_reserve_is_a_warning(home: Path, archive: Path) -> None:
    del archive
    Reserve(home).release()

    assert "start the archive" in findings(home)["archive"].hint


def test_device_over_its_limits_is_named_for_a_day(home: Path, archive: Path) -> None:
    record_over_limit(archive / OVER_LIMIT, "hall", NOW_S - 90_000)
    record_over_limit(archive / OVER_LIMIT, "kitchen", NOW_S - 3600)

    found = findings(home)["device-limits"]

    assert found.verdict == "warn"
    assert "kitchen" in found.text
    assert "hall" not in found.text


def test_clips_of_another_person_are_counted_by_speaker(home: Path, archive: Path) -> None:
    WrongAttributions(archive / WRONG_ATTRIBUTIONS).add({"kitchen": 2, "hall": 1})

    found = findings(home)["attributions"]

    assert found.verdict == "ok"
    assert "3 clips of another person, by speaker: hall 1, kitchen 2" in found.text


def test_unreadable_archive_fails(
    home: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del archive

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(archive_files, "walk", refuse)

    found = findings(home)

    assert [each.verdict for each in found.values()] == ["fail"]
