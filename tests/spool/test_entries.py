"""What lies at the border, by its name alone."""

from pathlib import Path

import pytest

from listener.spool.entries import FOLLOWING, QUARANTINE, TERMS, SpoolEntry, open_directory, scan

CLIP = "00000000-0000-4000-8000-000000000001"


def test_a_name_tells_where_a_clip_goes_and_back(tmp_path: Path) -> None:
    entries = [SpoolEntry(2, "bob", CLIP, 3), SpoolEntry(1, "ada", CLIP, 3)]
    for entry in entries:
        (tmp_path / entry.name).write_bytes(b"abc")

    with open_directory(tmp_path) as folder:
        found, foreign = scan(folder)

    assert [entry for entry, _ in found] == sorted(entries)
    assert foreign == 0


def test_our_own_files_are_not_foreign_and_others_are(tmp_path: Path) -> None:
    for name in ("counts", TERMS, FOLLOWING, f"{SpoolEntry(1, 'ada', CLIP).name}.part", "stranger"):
        (tmp_path / name).touch()
    (tmp_path / QUARANTINE).mkdir()
    (tmp_path / SpoolEntry(9, "ada", CLIP).name).mkdir()

    with open_directory(tmp_path) as folder:
        assert scan(folder) == ([], 2)


def test_a_link_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    with pytest.raises(OSError, match="directory"), open_directory(tmp_path / "link"):
        pass
