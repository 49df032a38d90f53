"""What mutes beyond a restart."""

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


def test_what_was_never_written_mutes_nothing(home: Path) -> None:
    lasting = MuteFiles(home)

    assert lasting.software.read() is None
    assert lasting.fault.read() is None


def test_a_software_mute_lasts(home: Path) -> None:
    MuteFiles(home).mute(NOW, "command", muted=True)

    assert MuteFiles(home).software.read() == SoftwareMute(since=SINCE, muted=True, by="command")


def test_a_fault_lasts_until_it_is_cleared(home: Path) -> None:
    lasting = MuteFiles(home)
    lasting.set_fault(NOW, "sound-while-muted")
    assert MuteFiles(home).fault.read() == FaultRecord(since=SINCE, reason="sound-while-muted")

    lasting.set_fault(NOW, None)

    found = MuteFiles(home).fault.read()
    assert found is not None
    assert not found.mutes


def test_what_another_process_wrote_is_seen(home: Path) -> None:
    watching, writing = MuteFiles(home), MuteFiles(home)

    for muted in (True, False, True):
        writing.mute(NOW, "command", muted=muted)
        found = watching.software.read()
        assert found is not None
        assert found.muted is muted


def test_a_home_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    MuteFiles(tmp_path / "new" / "home").mute(NOW, "command", muted=True)

    assert (tmp_path / "new" / "home" / "mute.json").exists()


def test_everybody_may_read_it_since_hear_must(home: Path) -> None:
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
def test_what_is_damaged_is_an_error_each_time(home: Path, data: bytes) -> None:
    lasting = MuteFiles(home)
    (home / "mute.json").write_bytes(data)

    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged"):
            lasting.software.read()


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


def test_what_is_mended_is_read_again(home: Path) -> None:
    lasting = MuteFiles(home)
    (home / "mute.json").write_bytes(b"torn")
    with pytest.raises(ConfigError):
        lasting.software.read()

    lasting.mute(NOW, "command", muted=False)

    found = lasting.software.read()
    assert found is not None
    assert not found.mutes


def test_a_file_that_was_there_and_is_gone_is_an_error(home: Path) -> None:
    lasting = MuteFiles(home)
    lasting.mute(NOW, "command", muted=False)
    lasting.software.read()

    (home / "mute.json").unlink()

    with pytest.raises(ConfigError, match="existed before and is missing"):
        lasting.software.read()


def test_what_cannot_be_read_is_an_error_until_it_can(home: Path) -> None:
    lasting = MuteFiles(home)
    (home / "mute.json").mkdir()
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot read"):
            lasting.software.read()
    (home / "mute.json").rmdir()

    lasting.mute(NOW, "command", muted=False)

    assert lasting.software.read() is not None


def test_a_path_that_cannot_be_is_an_error(home: Path) -> None:
    (home / "file").touch()

    with pytest.raises(Unavailable, match="cannot read"):
        MuteFiles(home / "file").software.read()


def test_writing_does_not_wait_for_a_writer_that_hangs(home: Path) -> None:
    lasting = MuteFiles(home)
    lasting.mute(NOW, "command", muted=True)
    with (home / "mute.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(Unavailable, match="another process is writing"):
            lasting.mute(NOW, "command", muted=False)

    lasting.mute(NOW, "command", muted=False)
    found = lasting.software.read()
    assert found is not None
    assert not found.mutes


def test_a_disk_that_cannot_be_written_is_said(home: Path) -> None:
    (home / "mute.json").mkdir()

    with pytest.raises(Unavailable, match="Is a directory"):
        MuteFiles(home).mute(NOW, "command", muted=True)


WRITER = """
import sys, itertools
from datetime import UTC, datetime
from pathlib import Path
from listener.errors import Unavailable
from listener.hear.mute.state import MuteFiles
lasting = MuteFiles(Path(sys.argv[1]))
for count in itertools.count():
    if count == 20:
        print("ready", flush=True)
    try:
        lasting.mute(datetime.now(UTC), "command", muted=count % 2 == 0)
    except Unavailable:
        pass
"""


@pytest.mark.system
def test_two_writers_that_are_killed_leave_a_whole_record(home: Path) -> None:
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        watching = MuteFiles(home)
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        seen = {getattr(watching.software.read(), "muted", None) for _ in range(2000)}
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()

        assert seen <= {None, True, False}
        assert MuteFiles(home).software.read() is not None
