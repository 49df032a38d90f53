"""Tests of the mute state on disk."""

import fcntl
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError, EarmarkError, Unavailable
from listener.hear.mute.state import FaultRecord, MuteFiles, SoftwareMute

NOW = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
SINCE = "2026-03-04T05:06:07.891011+00:00"


def test_missing_files_have_no_record(home: Path) -> None:
    files = MuteFiles(home)

    assert files.software.read() is None
    assert files.fault.read() is None


def test_software_mute_is_persistent(home: Path) -> None:
    MuteFiles(home).mute(NOW, "command", muted=True)

    assert MuteFiles(home).software.read() == SoftwareMute(since=SINCE, muted=True, by="command")


def test_fault_is_persistent_until_cleared(home: Path) -> None:
    files = MuteFiles(home)
    files.set_fault(NOW, "sound-while-muted")
    assert MuteFiles(home).fault.read() == FaultRecord(since=SINCE, reason="sound-while-muted")

    files.set_fault(NOW, None)

    record = MuteFiles(home).fault.read()
    assert record is not None
    assert not record.mutes


def test_write_by_another_process_is_read(home: Path) -> None:
    reader, writer = MuteFiles(home), MuteFiles(home)

    for muted in (True, False, True):
        writer.mute(NOW, "command", muted=muted)
        record = reader.software.read()
        assert record is not None
        assert record.muted is muted


def test_missing_home_is_created(tmp_path: Path) -> None:
    MuteFiles(tmp_path / "new" / "home").mute(NOW, "command", muted=True)

    assert (tmp_path / "new" / "home" / "mute.json").exists()


def test_file_is_world_readable(home: Path) -> None:
    MuteFiles(home).mute(NOW, "command", muted=True)

    assert (home / "mute.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b'{"v":1}',
        b'{"v":2,"since":"2026","muted":false,"by":"command"}',
        b'{"v":1,"since":"2026","muted":false,"by":"me"}',
        b'{"v":1,"since":"2026","muted":0,"by":"command"}',
        b'{"v":1,"since":"\\u001b[2J","muted":false,"by":"command"}',
        b'{"v":1,"since":"2026","muted":false,"by":"command","more":1}',
        b'{"v":1,"since":"2026","muted":false,"by":"command"}' + b" " * 1024,
        b"[" * 1000,
    ],
)
def test_damaged_file_is_an_error_on_every_read(home: Path, data: bytes) -> None:
    files = MuteFiles(home)
    (home / "mute.json").write_bytes(data)

    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged"):
            files.software.read()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    path = Path(f"/dev/shm/earmark-test-{os.getpid()}")  # noqa: S108 - one file, overwritten
    try:
        path.mkdir(exist_ok=True)
        (path / "fault.json").write_bytes(data)
        assert MuteFiles(path).fault.read() is not None
    except EarmarkError:
        pass
    finally:
        (path / "fault.json").unlink()
        path.rmdir()


def test_repaired_file_is_read_again(home: Path) -> None:
    files = MuteFiles(home)
    (home / "mute.json").write_bytes(b"torn")
    with pytest.raises(ConfigError):
        files.software.read()

    files.mute(NOW, "command", muted=False)

    record = files.software.read()
    assert record is not None
    assert not record.mutes


def test_deleted_file_is_an_error(home: Path) -> None:
    files = MuteFiles(home)
    files.mute(NOW, "command", muted=False)
    files.software.read()

    (home / "mute.json").unlink()

    with pytest.raises(ConfigError, match="existed before and is missing"):
        files.software.read()


def test_unreadable_file_is_an_error_until_repaired(home: Path) -> None:
    files = MuteFiles(home)
    (home / "mute.json").mkdir()
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot read"):
            files.software.read()
    (home / "mute.json").rmdir()

    files.mute(NOW, "command", muted=False)

    assert files.software.read() is not None


def test_home_that_is_a_file_is_an_error(home: Path) -> None:
    (home / "file").touch()

    with pytest.raises(Unavailable, match="cannot read"):
        MuteFiles(home / "file").software.read()


def test_write_does_not_wait_for_a_held_lock(home: Path) -> None:
    files = MuteFiles(home)
    files.mute(NOW, "command", muted=True)
    with (home / "mute.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(Unavailable, match="another process is writing"):
            files.mute(NOW, "command", muted=False)

    files.mute(NOW, "command", muted=False)
    record = files.software.read()
    assert record is not None
    assert not record.mutes


def test_failed_write_is_reported(home: Path) -> None:
    (home / "mute.json").mkdir()

    with pytest.raises(Unavailable, match="Is a directory"):
        MuteFiles(home).mute(NOW, "command", muted=True)


WRITER = """
import sys, itertools
from datetime import UTC, datetime
from pathlib import Path
from listener.errors import Unavailable
from listener.hear.mute.state import MuteFiles
files = MuteFiles(Path(sys.argv[1]))
for count in itertools.count():
    if count == 20:
        print("ready", flush=True)
    try:
        files.mute(datetime.now(UTC), "command", muted=count % 2 == 0)
    except Unavailable:
        pass
"""


@pytest.mark.system
def test_two_killed_writers_leave_a_valid_record(home: Path) -> None:
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        reader = MuteFiles(home)
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        states = {getattr(reader.software.read(), "muted", None) for _ in range(2000)}
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()

        assert states <= {None, True, False}
        assert MuteFiles(home).software.read() is not None


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipe_or_link_is_an_error_without_a_wait_until_replaced(home: Path, kind: str) -> None:
    files = MuteFiles(home)
    if kind == "pipe":
        os.mkfifo(home / "mute.json")
    else:
        (home / "mute.json").symlink_to("/dev/zero")

    for _ in range(2):
        with pytest.raises(Unavailable):
            files.software.read()

    files.mute(NOW, "command", muted=False)
    record = files.software.read()
    assert record is not None
    assert not record.muted


def test_pipe_in_place_of_the_lock_is_not_waited_for(home: Path) -> None:
    os.mkfifo(home / "mute.lock")

    MuteFiles(home).mute(NOW, "command", muted=True)

    record = MuteFiles(home).software.read()
    assert record is not None
    assert record.muted
