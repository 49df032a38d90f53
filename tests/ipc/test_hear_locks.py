"""State of hear as locks: a reader gets the true state, and never waits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.ipc.hear_locks import FILE, HearLockReader, HearLocks


def test_without_hear_nothing_is_announced(home: Path) -> None:
    reader = HearLockReader(home)

    assert not reader.is_running()
    assert not reader.is_microphone_open()
    assert not reader.has_applied(0, b"")
    assert not (home / FILE).exists(), "a reader creates nothing"


def test_hear_and_its_records_are_announced_until_it_ends(home: Path) -> None:
    state, reader = HearLocks(home), HearLockReader(home)
    state.apply(b"muted", b"")

    assert reader.is_running()
    assert reader.has_applied(0, b"muted")
    assert reader.has_applied(1, b"")
    assert not reader.has_applied(1, b"muted"), "the kinds of records are apart"
    assert not reader.has_applied(0, b"open")

    state.apply(b"open", b"")
    assert reader.has_applied(0, b"open")
    assert not reader.has_applied(0, b"muted")

    state.close()
    assert not reader.is_running()
    assert not reader.has_applied(0, b"open")


def test_microphone_is_open_exactly_while_its_process_runs(home: Path) -> None:
    state, reader = HearLocks(home), HearLockReader(home)
    lock = state.lock_microphone()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=(lock,))
    os.close(lock)
    assert reader.is_microphone_open()

    process.kill()
    process.wait()

    assert not reader.is_microphone_open()
    assert reader.is_running()
    assert process.stdin is not None
    process.stdin.close()
    state.close()


def test_two_microphones_share_the_lock(home: Path) -> None:
    state, reader = HearLocks(home), HearLockReader(home)
    first, second = state.lock_microphone(), state.lock_microphone()

    os.close(first)

    assert reader.is_microphone_open()
    os.close(second)
    assert not reader.is_microphone_open()
    state.close()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_what_is_not_a_file_is_refused_without_a_wait(home: Path, kind: str) -> None:
    place = home / FILE
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()

    with pytest.raises(Unavailable):
        HearLockReader(home).is_microphone_open()
    with pytest.raises(Unavailable):
        HearLocks(home)


def test_microphone_stays_closed_where_its_lock_cannot_be_taken(home: Path) -> None:
    state = HearLocks(home)
    (home / FILE).unlink()
    os.mkfifo(home / FILE)

    with pytest.raises(OSError, match="not a regular file"):
        state.lock_microphone()
    state.close()
