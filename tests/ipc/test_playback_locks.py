"""Agreement of hear and the player: no sound without hear's lock, and none that hear cannot see."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.ipc.playback_locks import PLAYBACK_FILE, PlaybackLock, PlaybackPermit


def test_no_sound_without_hear(tmp_path: Path) -> None:
    lock = PlaybackLock(tmp_path)

    assert not lock.refresh()
    assert not lock.begin()
    assert not (tmp_path / PLAYBACK_FILE).exists(), "only hear creates the file"


def test_sound_needs_the_permission_and_is_seen_by_hear(tmp_path: Path) -> None:
    permit, lock = PlaybackPermit(tmp_path), PlaybackLock(tmp_path)
    assert not lock.begin()
    assert permit.is_player_running()

    permit.permit(is_permitted=True)
    assert not permit.is_sounding()
    assert lock.begin()
    assert permit.is_sounding()
    assert lock.is_permitted()

    permit.permit(is_permitted=False)
    assert not lock.is_permitted()
    assert permit.is_sounding(), "until the player says that the sound has ended"
    lock.end()
    assert not permit.is_sounding()
    lock.close()
    assert not permit.is_player_running()
    permit.close()


def test_closed_hear_permits_nothing(tmp_path: Path) -> None:
    permit, lock = PlaybackPermit(tmp_path), PlaybackLock(tmp_path)
    permit.permit(is_permitted=True)
    assert lock.begin()

    permit.close()

    assert not lock.is_permitted()
    lock.close()


def test_unknown_state_counts_as_sounding(tmp_path: Path) -> None:
    permit = PlaybackPermit(tmp_path)
    permit.close()

    assert permit.is_sounding()


def test_number_changes_with_each_sound_and_each_player(tmp_path: Path) -> None:
    permit = PlaybackPermit(tmp_path)
    permit.permit(is_permitted=True)
    numbers = [permit.sound_number()]
    for _ in range(2):
        lock = PlaybackLock(tmp_path)
        lock.refresh()
        numbers.append(permit.sound_number())
        for _ in range(3):
            assert lock.begin()
            numbers.append(permit.sound_number())
            lock.end()
            assert permit.sound_number() == numbers[-1]
        lock.close()
        assert permit.sound_number() is None

    assert numbers[0] is None
    assert None not in numbers[1:]
    assert len(set(numbers)) == len(numbers)
    permit.close()


def test_new_file_of_a_restarted_hear_is_found(tmp_path: Path) -> None:
    first, lock = PlaybackPermit(tmp_path), PlaybackLock(tmp_path)
    first.permit(is_permitted=True)
    assert lock.begin()
    lock.end()
    first.close()
    (tmp_path / PLAYBACK_FILE).unlink()
    second = PlaybackPermit(tmp_path)
    second.permit(is_permitted=True)

    assert lock.begin()
    assert second.is_sounding()
    lock.close()
    second.close()


def test_replaced_file_gives_silence_and_not_unseen_sound(tmp_path: Path) -> None:
    permit, lock = PlaybackPermit(tmp_path), PlaybackLock(tmp_path)
    permit.permit(is_permitted=True)
    (tmp_path / PLAYBACK_FILE).unlink()
    (tmp_path / PLAYBACK_FILE).write_bytes(b"")

    assert not lock.begin()
    assert not permit.is_sounding()
    lock.close()
    permit.close()


def test_file_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot use"):
        PlaybackPermit(tmp_path / "missing")


@pytest.mark.system
def test_killed_player_and_killed_hear_leave_no_lock(tmp_path: Path) -> None:
    permit = PlaybackPermit(tmp_path)
    permit.permit(is_permitted=True)
    script = (
        "import sys; from pathlib import Path\n"
        "from listener.ipc.playback_locks import PlaybackLock\n"
        f"lock = PlaybackLock(Path({str(tmp_path)!r}))\n"
        "print(lock.begin(), flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as player:
        assert player.stdout is not None
        assert player.stdout.readline() == b"True\n"
        assert permit.is_sounding()
        os.kill(player.pid, signal.SIGKILL)
        player.wait()
        assert not permit.is_sounding()
        assert not permit.is_player_running()
    permit.close()
