"""Whose a new file is: the folder says it."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listener.errors import ConfigError, Unavailable
from listener.storage.atomic import (
    chown_to_parent,
    hold_lock,
    make_folder,
    shared_mode,
    write_atomic,
)
from listener.storage.home import Home


def test_what_a_killed_writer_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".roster.json.new").write_bytes(b"half")

    write_atomic(tmp_path / "roster.json", b"whole", 0o640)

    assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]
    assert stat.S_IMODE((tmp_path / "roster.json").stat().st_mode) == 0o640


def test_writing_into_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot use"):
        write_atomic(tmp_path / "missing" / "file", b"")


def test_a_folder_is_for_its_owner_and_is_not_made_twice(tmp_path: Path) -> None:
    make_folder(tmp_path / "one" / "two")
    (tmp_path / "one" / "two" / "file").write_text("kept")
    make_folder(tmp_path / "one" / "two")

    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o700
    assert (tmp_path / "one" / "two" / "file").read_text() == "kept"


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigError, match="everybody can write"):
        make_folder(tmp_path)


def test_a_folder_below_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="cannot use"):
        make_folder(tmp_path / "file" / "home")


def test_of_two_who_want_a_lock_the_second_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []

    def second() -> None:
        with hold_lock(tmp_path / "lock"):
            said.append("second")

    with hold_lock(tmp_path / "lock"):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.05)
        said.append("first")
    waiting.join()

    assert said == ["first", "second"]
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_a_lock_is_given_back_by_whoever_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_lock(tmp_path / "lock"):
        raise ZeroDivisionError

    with hold_lock(tmp_path / "lock"):
        pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="lock"), hold_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


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
