"""Durable files: atomic writes, folders, locks and ownership."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listener.errors import ConfigError, Unavailable
from listener.storage import atomic
from listener.storage.atomic import (
    chown_to_parent,
    create_file,
    hold_lock,
    is_running,
    make_folder,
    make_folders,
    open_plain_file,
    read_plain_file,
    shared_mode,
    single_instance,
    translate_os_errors,
    wait_for_lock,
    write_atomic,
    write_once,
)
from listener.storage.home import Home
from listener.storage.sqlite import open_database

KILLED = """
import os, signal, sys
from pathlib import Path
from listener.storage import atomic

writer, step, path = sys.argv[1:]
name, _, calls = step.partition(" ")
real, left = getattr(os, name), int(calls)

def kill(*words, **more):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*words, **more)

setattr(os, name, kill)
getattr(atomic, writer)(Path(path), b"new" * 100_000)
"""
NEW = b"new" * 100_000


@pytest.mark.parametrize(
    ("writer", "step", "before", "after"),
    [
        ("write_atomic", "fchmod 1", b"old", b"old"),
        ("write_atomic", "fsync 1", b"old", b"old"),
        ("write_atomic", "replace 1", b"old", b"old"),
        ("write_atomic", "fsync 2", b"old", NEW),
        ("write_atomic", "replace 1", None, None),
        ("write_once", "fchmod 1", None, None),
        ("write_once", "fsync 1", None, None),
        ("write_once", "link 1", None, None),
        ("write_once", "unlink 2", None, NEW),
    ],
)
def test_killed_writer_leaves_a_whole_file_or_none(
    tmp_path: Path, writer: str, step: str, before: bytes | None, after: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}

    killed = subprocess.run(
        [sys.executable, "-c", KILLED, writer, step, str(path)], check=False, env=environment
    )

    assert killed.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == after
    if writer == "write_once" and after is not None:
        with pytest.raises(FileExistsError):
            write_once(path, b"next")
    else:
        {"write_atomic": write_atomic, "write_once": write_once}[writer](path, b"next")
        assert path.read_bytes() == b"next"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_write_once_never_replaces(tmp_path: Path) -> None:
    write_once(tmp_path / "file", b"first")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            write_once(tmp_path / name, b"second")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_create_file_never_opens_what_exists(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    for name in ("file", "link"):
        with pytest.raises(FileExistsError), create_file(tmp_path / name):
            pytest.fail("the file was opened")

    assert (tmp_path / "file").read_bytes() == b"first"
    assert not (tmp_path / "elsewhere").exists()


def test_create_file_removes_a_file_that_failed(tmp_path: Path) -> None:
    with opened(tmp_path) as folder:
        for path, parent in ((tmp_path / "file", None), ("file", folder)):
            with pytest.raises(ZeroDivisionError), create_file(path, folder=parent) as file:
                file.write(b"%d" % (1 // 0))

            assert not list(tmp_path.iterdir())


def test_open_plain_file_refuses_folders_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")

    with opened(tmp_path) as folder:
        for name in ("pipe", "folder"):
            with pytest.raises(OSError, match="not a regular file"):
                open_plain_file(name, folder)
        for name in ("link", "missing"):
            with pytest.raises(OSError, match=name):
                open_plain_file(name, folder)


def test_part_file_of_a_killed_writer_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".roster.json.part").write_bytes(b"half")

    write_atomic(tmp_path / "roster.json", b"whole", 0o640)

    assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]
    assert stat.S_IMODE((tmp_path / "roster.json").stat().st_mode) == 0o640


def test_writing_into_a_missing_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot use"):
        write_atomic(tmp_path / "missing" / "file", b"")


def test_folder_has_mode_0700_and_an_existing_one_stays(tmp_path: Path) -> None:
    make_folder(tmp_path / "one" / "two")
    (tmp_path / "one" / "two" / "file").write_text("kept")
    make_folder(tmp_path / "one" / "two")

    assert stat.S_IMODE((tmp_path / "one" / "two").stat().st_mode) == 0o700
    assert (tmp_path / "one" / "two" / "file").read_text() == "kept"


def test_world_writable_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigError, match="world-writable"):
        make_folder(tmp_path)


def test_folder_below_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match="cannot use"):
        make_folder(tmp_path / "file" / "home")


def test_hold_lock_waits_for_the_holder(tmp_path: Path) -> None:
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


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold_lock(tmp_path / "lock"):
        raise ZeroDivisionError

    with hold_lock(tmp_path / "lock"):
        pass


def test_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
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
def test_setgid_folder_shares_new_files_with_its_group(
    tmp_path: Path, folder_mode: int, mode: int, expected: int
) -> None:
    tmp_path.chmod(folder_mode)

    with opened(tmp_path) as folder:
        assert shared_mode(folder, mode) == expected


@by_root
def test_chown_to_parent_gives_root_files_to_the_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, -1)
    (tmp_path / "file").touch()

    with opened(tmp_path) as folder, opened(tmp_path / "file") as file:
        chown_to_parent(file, folder)

    assert (tmp_path / "file").stat().st_uid == SOMEBODY


@by_root
def test_files_of_root_belong_to_the_folder_owner(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, -1)

    write_atomic(tmp_path / "atomic", b"")
    write_once(tmp_path / "once", b"")
    open_database(tmp_path / "base", "create table t (a)").close()

    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {SOMEBODY}


@by_root
def test_folders_of_root_belong_to_the_owner_of_the_first_that_exists(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    os.chown(home, SOMEBODY, -1)

    make_folder(home / "assist" / "speech-model")
    make_folder(tmp_path / "other" / "folder")
    with single_instance(home / "new", "verb"):
        pass

    made = [home / "assist", home / "assist" / "speech-model", home / "new"]
    assert {path.stat().st_uid for path in made} == {SOMEBODY}
    assert stat.S_IMODE(made[1].stat().st_mode) == 0o700
    assert (tmp_path / "other" / "folder").stat().st_uid == 0


@by_root
def test_folder_that_exists_or_is_linked_keeps_its_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (home / "mine").mkdir()
    (home / "linked").symlink_to(tmp_path / "elsewhere")
    os.chown(home, SOMEBODY, -1)

    for name in ("mine", "linked"):
        make_folder(home / name)

    assert {(home / name).stat().st_uid for name in ("mine", "linked")} == {0}


def test_make_folders_refuses_a_name_that_a_file_has(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for place in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folders(place)


@by_root
def test_chown_to_parent_skips_a_file_with_two_links(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "shadow").touch()
    os.link(tmp_path / "shadow", tmp_path / "theirs" / "lock")
    os.chown(tmp_path / "theirs", SOMEBODY, -1)

    with opened(tmp_path / "theirs") as folder, opened(tmp_path / "theirs" / "lock") as file:
        chown_to_parent(file, folder)

    assert (tmp_path / "shadow").stat().st_uid == 0


@by_root
def test_home_used_by_root_stays_readable_by_its_user(tmp_path: Path) -> None:
    os.chown(tmp_path, SOMEBODY, -1)
    home = Home(tmp_path)

    home.device_key()
    home.next_seq()

    made = {path.name: path.stat() for path in tmp_path.iterdir()}
    assert made.keys() == {"device.key", "lock", "sequence"}
    assert {found.st_uid for found in made.values()} == {SOMEBODY}
    assert {stat.S_IMODE(found.st_mode) for found in made.values()} == {0o600}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link"])
def test_read_plain_file_refuses_what_is_not_a_file_without_a_wait(
    tmp_path: Path, kind: str
) -> None:
    place = tmp_path / "small"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place = Path("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        (tmp_path / "target").write_bytes(b"data")
        place.symlink_to(tmp_path / "target")

    with pytest.raises(OSError, match=r"regular|symbolic"):
        read_plain_file(place, 100)


def test_read_plain_file_follows_links_only_when_told_and_never_to_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"data")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to(tmp_path / "pipe")

    assert read_plain_file(tmp_path / "link", 4, follow_links=True) == b"data"
    with pytest.raises(OSError, match="not a regular file"):
        read_plain_file(tmp_path / "to-pipe", 4, follow_links=True)


def test_read_plain_file_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"12345")

    assert read_plain_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_plain_file(path, 4)


def test_wait_for_lock_is_limited(tmp_path: Path) -> None:
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    other = os.open(tmp_path, os.O_RDONLY)

    for patience_s in (0.0, 0.02):
        with pytest.raises(TimeoutError, match="does not release"):
            wait_for_lock(other, patience_s)

    os.close(holder)
    wait_for_lock(other, 0.0)
    os.close(other)


def test_hold_lock_is_limited_and_reported_as_unavailable(tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path / "lock"),
        pytest.raises(Unavailable, match="does not release"),
        translate_os_errors(tmp_path),
        hold_lock(tmp_path / "lock", 0.01),
    ):
        pytest.fail("both hold it")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_hard_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)

    with pytest.raises(ConfigError, match="without hard links") as caught:
        atomic.check_links(tmp_path / "archive")

    assert "ext4" in caught.value.hint
    assert list((tmp_path / "archive").iterdir()) == []


def test_trial_of_hard_links_leaves_nothing(tmp_path: Path) -> None:
    atomic.check_links(tmp_path)
    (tmp_path / ".link.part").write_bytes(b"of a killed process")
    atomic.check_links(tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_other_failures_of_the_trial_are_left_to_the_first_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", fail)

    atomic.check_links(tmp_path)


def test_running_is_seen_from_its_lock(tmp_path: Path) -> None:
    folder = tmp_path / "send"
    before = is_running(folder, "send")
    with single_instance(folder, "send"):
        during = is_running(folder, "send")
        other = is_running(folder, "archive")

    assert (before, during, other) == (False, True, False)
    assert is_running(folder, "send") is False
    assert {path.name for path in folder.iterdir()} == {"send.lock"}


def test_lock_that_cannot_be_opened_leaves_running_unknown(tmp_path: Path) -> None:
    (tmp_path / "send.lock").symlink_to(tmp_path / "elsewhere")

    assert is_running(tmp_path, "send") is None


def test_start_waits_while_the_lock_is_read(tmp_path: Path) -> None:
    (tmp_path / "send.lock").touch()
    with (tmp_path / "send.lock").open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        release = threading.Timer(0.02, fcntl.flock, (reader, fcntl.LOCK_UN))
        release.start()

        with single_instance(tmp_path, "send"):
            held = is_running(tmp_path, "send")
        release.join()

    assert held
