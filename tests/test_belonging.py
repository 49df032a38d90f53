"""Whose a new file is: the folder says it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listener.belonging import chown_to_parent, shared_mode
from listener.home import Home

SOMEBODY = 54_321

by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    ("folder_mode", "mode", "expected"),
    [
        (0o700, 0o600, 0o600),
        (0o770, 0o600, 0o600),  # a group that may write is not yet one that shares
        (0o2770, 0o600, 0o660),
        (0o2770, 0o700, 0o770),
        (0o2710, 0o600, 0o660),
    ],
)
def test_the_setgid_bit_shares(tmp_path: Path, folder_mode: int, mode: int, expected: int) -> None:
    tmp_path.chmod(folder_mode)

    with opened(tmp_path) as folder:
        assert shared_mode(folder, mode) == expected


@by_root
def test_root_gives_its_files_to_the_folders_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, -1)
    (tmp_path / "file").touch()

    with opened(tmp_path) as folder, opened(tmp_path / "file") as file:
        chown_to_parent(file, folder)

    assert (tmp_path / "file").stat().st_uid == SOMEBODY


@by_root
def test_root_gives_away_no_file_that_has_another_name(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "shadow").touch()
    os.link(tmp_path / "shadow", tmp_path / "theirs" / "lock")
    os.chown(tmp_path / "theirs", SOMEBODY, -1)

    with opened(tmp_path / "theirs") as folder, opened(tmp_path / "theirs" / "lock") as file:
        chown_to_parent(file, folder)

    assert (tmp_path / "shadow").stat().st_uid == 0


@by_root
def test_what_root_does_in_a_home_its_user_can_read(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, -1)
    home = Home(tmp_path)

    home.device_key()
    home.next_seq()

    made = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert made.keys() == {"device.key", "lock", "sequence"}
    assert {found.st_uid for found in made.values()} == {SOMEBODY}
    assert {stat.S_IMODE(found.st_mode) for found in made.values()} == {0o600}
