"""State for the player: whole, bounded, and muted before anything is known."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Unavailable
from listener.ipc.datagrams import Inbox
from listener.ipc.player_state import (
    LONGEST_STATE_BYTES,
    AskedReply,
    PlayerStateWriter,
    parse_player_state,
    read_player_state,
)
from listener.ipc.voice_paths import PLAYER_SOCKET, PLAYER_STATE

LATEST = AskedReply(
    ask="0" * 32,
    assist="ed25519:" + "A" * 43 + "=",
    reply="age1" + "q" * 58,
    boot_ms=1,
    wall_ms=2,
)


def test_first_state_is_muted_and_without_an_ask(tmp_path: Path) -> None:
    writer = PlayerStateWriter(tmp_path)

    state = read_player_state(tmp_path)

    assert state is not None
    assert state.muted
    assert state.latest is None
    writer.close()


def test_changes_are_written_and_the_player_is_woken(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / PLAYER_SOCKET, 1)
    writer = PlayerStateWriter(tmp_path)

    writer.set_muted(is_muted=False)
    writer.set_latest(LATEST)
    assert writer.request_sound("done")

    assert list(inbox.receive()) == [b""] * 3
    state = read_player_state(tmp_path)
    assert state is not None
    assert (state.muted, state.latest, state.sound, state.sound_n) == (False, LATEST, "done", 1)
    writer.set_muted(is_muted=True)
    state = read_player_state(tmp_path)
    assert state is not None
    assert (state.muted, state.latest) == (True, None)
    writer.close()
    inbox.close()


def test_numbers_of_sounds_go_on_after_a_restart(tmp_path: Path) -> None:
    first = PlayerStateWriter(tmp_path)
    first.request_sound("done")
    first.close()

    second = PlayerStateWriter(tmp_path)
    second.request_sound("late")
    state = read_player_state(tmp_path)

    assert state is not None
    assert state.sound_n == 2
    second.close()


def test_missing_player_and_missing_folder_are_no_wait(tmp_path: Path) -> None:
    writer = PlayerStateWriter(tmp_path)

    assert not writer.request_sound("done")
    writer.close()
    with pytest.raises(Unavailable, match="cannot write"):
        PlayerStateWriter(tmp_path / "missing")


@given(st.binary(max_size=LONGEST_STATE_BYTES + 10))
def test_any_bytes_are_no_state_or_one(data: bytes) -> None:
    assert parse_player_state(data) is None or json.loads(data)["v"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"latest": {"ask": "x"}},
        {"muted": 0},
        {"sound": "ring"},
        {"v": 2},
        {"more": 1},
        {"sound_n": -1},
    ],
)
def test_wrong_fields_are_no_state(change: dict[str, object]) -> None:
    good: dict[str, object] = {"v": 1, "muted": False, "sound": "done", "sound_n": 1}

    assert parse_player_state(json.dumps(good).encode()) is not None
    assert parse_player_state(json.dumps(good | change).encode()) is None


def test_longest_state_fits(tmp_path: Path) -> None:
    writer = PlayerStateWriter(tmp_path)
    writer.set_latest(LATEST)
    writer.request_sound("not-understood")

    assert len((tmp_path / PLAYER_STATE).read_bytes()) < LONGEST_STATE_BYTES // 2
    writer.close()
