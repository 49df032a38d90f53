"""The reserve: given up on a full disk, made again when there is room."""

import errno
import os
from pathlib import Path

import pytest

from listener.errors import DiskFull, Unavailable
from listener.storage import reserve as reserves
from listener.storage.reserve import RESERVE, RESERVE_BYTES, Reserve, find_reserve, with_reserve


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path)


def test_reserve_takes_real_space_and_is_made_once(reserve: Reserve, tmp_path: Path) -> None:
    assert reserve.refill()
    status = (tmp_path / RESERVE).stat()

    assert reserve.refill()
    assert reserve.is_whole
    assert status.st_blocks * 512 >= RESERVE_BYTES
    assert status.st_mode & 0o077 == 0
    assert (tmp_path / RESERVE).stat().st_ino == status.st_ino


def test_full_disk_gives_up_the_reserve_and_repeats_once(reserve: Reserve, tmp_path: Path) -> None:
    reserve.refill()
    attempts = []

    def write() -> str:
        attempts.append((tmp_path / RESERVE).exists())
        if len(attempts) == 1:
            raise DiskFull(tmp_path)
        return "written"

    assert reserve.run(write) == "written"
    assert attempts == [True, False]
    assert reserve.refill()


def test_without_a_reserve_the_error_is_raised_at_once(reserve: Reserve, tmp_path: Path) -> None:
    attempts = []

    def write() -> None:
        attempts.append(1)
        raise DiskFull(tmp_path)

    with pytest.raises(DiskFull):
        reserve.run(write)
    assert len(attempts) == 1


def test_other_errors_leave_the_reserve(reserve: Reserve) -> None:
    reserve.refill()

    def fail() -> None:
        raise Unavailable("the disk is gone")

    with pytest.raises(Unavailable):
        reserve.run(fail)
    assert reserve.is_whole


def test_reserve_grows_with_the_room(
    reserve: Reserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sizes(*free: int) -> list[int]:
        found = []
        for each in free:
            monkeypatch.setattr(reserves, "free_bytes", lambda _, free=each: free)
            assert reserve.refill() == reserve.is_whole
            path = tmp_path / RESERVE
            found.append(path.stat().st_size if path.exists() else 0)
        return found

    kib = 1 << 10
    assert sizes(0, 100 * kib) == [0, 0]
    assert sizes(300 * kib, 100 * kib) == [44 * kib, 44 * kib]
    assert sizes(1 << 30, 1 << 30) == [RESERVE_BYTES, RESERVE_BYTES]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_name_that_is_not_a_file_is_no_reserve(
    reserve: Reserve, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = tmp_path / RESERVE
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")

    assert not reserve.refill()
    assert "cannot make the reserve" in caplog.text


def test_reserve_that_cannot_be_made_is_reported(
    reserve: Reserve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)

    assert not reserve.refill()
    assert not reserve.is_whole
    assert "cannot make the reserve" in caplog.text


class Writer:
    """Writes to a disk that is full until its reserve is given up."""

    def __init__(self, folder: Path) -> None:
        self.reserve = Reserve(folder)

    @with_reserve
    def write(self, text: str, *, times: int) -> str:
        """Write a text."""
        if self.reserve.is_whole:
            raise DiskFull("disk")
        return text * times


def test_decorated_method_is_repeated_with_its_arguments(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.reserve.refill()

    assert writer.write("a", times=2) == "aa"


def test_archive_on_the_homes_disk_shares_its_reserve(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()

    find_reserve(folder).refill()

    assert (tmp_path / RESERVE).exists()
