"""Folder from which send takes command copies: two files, ten seconds, nothing after a mute."""

import os
import stat
import threading
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.hear.copy_folder import LONGEST_LIFE_S, MOST_COPIES, CopyFolder
from listener.ipc.voice_paths import CopyName, parse_copy_name

ASKS = tuple(f"{number:032x}" for number in range(8))


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> CopyFolder:
    return CopyFolder(tmp_path / "voice" / "copies", clock)


def names(tmp_path: Path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "voice" / "copies").iterdir())


def yes() -> bool:
    return True


def test_copy_has_the_name_that_send_expects(folder: CopyFolder, tmp_path: Path) -> None:
    assert folder.lay(ASKS[0], 1, b"sealed", yes)

    (name,) = names(tmp_path)
    assert parse_copy_name(name) == CopyName(ASKS[0], 1)
    file = tmp_path / "voice" / "copies" / name
    assert file.read_bytes() == b"sealed"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_copy_does_not_wait_for_a_disk(
    folder: CopyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fsync")

    assert folder.lay(ASKS[0], 1, b"sealed", yes)
    assert len(names(tmp_path)) == 1


def test_group_of_a_shared_folder_may_read_and_remove(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "copies"
    path.mkdir()
    path.chmod(0o2770)

    CopyFolder(path, clock).lay(ASKS[0], 1, b"sealed", yes)

    assert stat.S_IMODE((path / f"{ASKS[0]}.1").stat().st_mode) == 0o640


def test_third_copy_has_no_place_until_send_takes_one(folder: CopyFolder, tmp_path: Path) -> None:
    for ask in ASKS[:MOST_COPIES]:
        assert folder.lay(ask, 1, b"sealed", yes)

    assert not folder.lay(ASKS[2], 1, b"sealed", yes)
    (tmp_path / "voice" / "copies" / f"{ASKS[0]}.1").unlink()

    assert folder.lay(ASKS[2], 1, b"sealed", yes)
    assert len(names(tmp_path)) == MOST_COPIES


def test_copy_that_is_not_allowed_any_more_leaves_no_file(
    folder: CopyFolder, tmp_path: Path
) -> None:
    assert not folder.lay(ASKS[0], 1, b"sealed", lambda: False)

    assert names(tmp_path) == []


def test_clear_removes_what_send_has_not_taken(folder: CopyFolder, tmp_path: Path) -> None:
    folder.lay(ASKS[0], 1, b"sealed", yes)
    folder.lay(ASKS[1], 1, b"sealed", yes)
    (tmp_path / "voice" / "copies" / f"{ASKS[0]}.1").unlink()

    assert folder.clear() == (ASKS[1],)
    assert folder.clear() == ()
    assert names(tmp_path) == []


def test_copy_lies_there_for_ten_seconds_at_most(
    folder: CopyFolder, clock: Clock, tmp_path: Path
) -> None:
    folder.lay(ASKS[0], 1, b"sealed", yes)
    clock.now_s += LONGEST_LIFE_S
    folder.lay(ASKS[1], 1, b"sealed", yes)
    assert folder.expire() == ()
    clock.now_s += 0.1

    assert folder.expire() == (ASKS[0],)
    assert names(tmp_path) == [f"{ASKS[1]}.1"]


def test_start_removes_what_a_killed_run_left(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "copies"
    path.mkdir()
    (path / f"{ASKS[0]}.1").write_bytes(b"old")
    (path / f".{ASKS[1]}.1.part").write_bytes(b"half")

    CopyFolder(path, clock)

    assert list(path.iterdir()) == []


def test_link_in_the_place_of_the_folder_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copies").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(Unavailable, match="not a folder"):
        CopyFolder(tmp_path / "copies", clock)


def test_folder_that_is_gone_loses_the_copy_only(folder: CopyFolder, tmp_path: Path) -> None:
    (tmp_path / "voice" / "copies").rmdir()

    with pytest.raises(Unavailable):
        folder.lay(ASKS[0], 1, b"sealed", yes)
    assert folder.clear() == ()


def test_clear_at_any_moment_leaves_no_copy_that_was_not_allowed_after_it(
    folder: CopyFolder, tmp_path: Path
) -> None:
    """A mute sets its mark before it clears, as the sealer does; 200 races of two threads."""
    for number in range(200):
        muted = threading.Event()
        start = threading.Barrier(2)

        def mute(muted: threading.Event = muted, start: threading.Barrier = start) -> None:
            start.wait(10)
            muted.set()
            folder.clear()

        thread = threading.Thread(target=mute)
        thread.start()
        start.wait(10)
        folder.lay(f"{number:032x}", 1, b"sealed", lambda muted=muted: not muted.is_set())  # type: ignore[misc]  # a default binds it
        thread.join(10)

        assert names(tmp_path) == []
