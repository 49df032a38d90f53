"""The player's loop: one reply for an ask, and nothing without hear's permission."""

import itertools
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audio.tones import BURST_S, RING_PAUSE_S, synthesize_ring
from listener.ipc.playback_locks import TAIL_S
from listener.ipc.player_state import SoundName, boot_ms
from listener.ipc.voice_paths import PLAYER_STATE, REPLIES, REPLY_KEY
from listener.player import loop
from listener.player.sounds import synthesize_sound
from tests.player.player_fixture import (
    RATE_HZ,
    PlayerFixture,
    other_recipient,
    tone,
)


@pytest.fixture(autouse=True)
def boot(bench: PlayerFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear's requests carry the time of the fake clock."""
    assert boot_ms() > 0
    monkeypatch.setattr(
        "listener.ipc.player_state.boot_ms", lambda: round(bench.clocks.moment().boot_s * 1000)
    )


def test_reply_to_the_latest_ask_is_played_once(bench: PlayerFixture) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone())

    bench.lay(reply)
    bench.lay(reply)

    ((_, samples, rate_hz, was_played),) = bench.output.sounds
    assert np.array_equal(samples, tone())
    assert (rate_hz, was_played) == (RATE_HZ, True)
    assert bench.player.refused == 1
    assert not any((bench.folder / REPLIES).iterdir())


def test_reply_key_is_made_anew_for_each_ask(bench: PlayerFixture) -> None:
    bench.open()
    asked = {bench.asked().reply for _ in range(3)}

    assert len(asked) == 3
    assert (bench.folder / REPLY_KEY).read_text().strip() not in asked


Change = Callable[[PlayerFixture], bytes]


def _forged(bench: PlayerFixture) -> bytes:
    return bench.sealed(bench.asked(), tone(), signer=Ed25519PrivateKey.generate())


def _of_an_earlier_ask(bench: PlayerFixture) -> bytes:
    first = bench.sealed(bench.asked(), tone())
    bench.asked()
    return first


def _for_another_speaker(bench: PlayerFixture) -> bytes:
    return bench.sealed(bench.asked(), tone(), device="kitchen")


def _to_another_key(bench: PlayerFixture) -> bytes:
    return bench.sealed(bench.asked(), tone(), recipient=other_recipient())


def _of_another_ask(bench: PlayerFixture) -> bytes:
    return bench.sealed(bench.asked(), tone(), ask="e" * 32)


def _late(bench: PlayerFixture) -> bytes:
    reply = bench.sealed(bench.asked(), tone(), age_ms=500)
    bench.clocks.sleep(10.5)
    return reply


def _after_a_step_of_the_clock(bench: PlayerFixture) -> bytes:
    reply = bench.sealed(bench.asked(), tone())
    bench.clocks.wall_step_s = 2.0
    return reply


def _changed(bench: PlayerFixture) -> bytes:
    reply = bytearray(bench.sealed(bench.asked(), tone()))
    reply[-1] ^= 1
    return bytes(reply)


def _no_reply(_: PlayerFixture) -> bytes:
    return b"EARMARK-COMMAND/1\n"


@pytest.mark.parametrize(
    "make",
    [
        _forged,
        _of_an_earlier_ask,
        _for_another_speaker,
        _to_another_key,
        _of_another_ask,
        _late,
        _after_a_step_of_the_clock,
        _changed,
        _no_reply,
    ],
)
def test_every_other_reply_is_refused(bench: PlayerFixture, make: Change) -> None:
    bench.open()

    bench.lay(make(bench))

    assert bench.output.sounds == []
    assert bench.player.refused == 1
    assert not any((bench.folder / REPLIES).iterdir())


def test_forged_reply_does_not_use_up_the_key(bench: PlayerFixture) -> None:
    bench.open()
    latest = bench.asked()
    bench.lay(bench.sealed(latest, tone(), signer=Ed25519PrivateKey.generate()))

    bench.lay(bench.sealed(latest, tone()))

    assert len(bench.output.sounds) == 1


def test_reply_that_was_long_in_the_making_is_played(bench: PlayerFixture) -> None:
    bench.open()
    latest = bench.asked()
    bench.clocks.sleep(20.0)

    bench.lay(bench.sealed(latest, tone(), age_ms=19_000))

    assert len(bench.output.sounds) == 1


def test_muted_speaker_plays_nothing(bench: PlayerFixture) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone())
    bench.mute()

    bench.lay(reply)
    bench.open()
    bench.lay(reply)

    assert bench.output.sounds == [], "a mute drops the key of the ask"


def test_permission_alone_decides_where_the_state_is_late(bench: PlayerFixture) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone())
    bench.permit.permit(is_permitted=False)

    bench.lay(reply)

    assert bench.output.sounds == []
    assert not bench.permit.is_sounding()


def test_player_waits_a_moment_for_the_permission(bench: PlayerFixture) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone())
    bench.permit.permit(is_permitted=False)
    bench.clocks.at = [(0.2, lambda: bench.permit.permit(is_permitted=True))]

    bench.lay(reply)

    assert len(bench.output.sounds) == 1


@pytest.mark.parametrize("how", ["mute", "wake", "button", "stop", "hear ends"])
def test_sound_ends_at_once(bench: PlayerFixture, how: str) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone(5.0))

    def stop() -> None:
        bench.is_stopping = True

    event = {
        "mute": bench.mute,
        "wake": lambda: bench.permit.permit(is_permitted=False),
        "button": bench.button.press,
        "stop": stop,
        "hear ends": bench.permit.close,
    }[how]
    bench.clocks.at = [(1.0, event)]

    bench.lay(reply)

    ((_, samples, _, was_played),) = bench.output.sounds
    assert not was_played
    assert len(samples) / RATE_HZ == pytest.approx(1.0, abs=0.021)


def test_hear_sees_the_sound_from_before_its_begin_until_after_its_echo(
    bench: PlayerFixture,
) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone(0.5))
    seen: list[bool] = []
    bench.output.during = lambda: seen.append(bench.permit.is_sounding())
    after: list[bool] = []
    bench.clocks.at = [
        (0.5 + TAIL_S - 0.05, lambda: after.append(bench.permit.is_sounding())),
    ]

    bench.lay(reply)

    assert seen
    assert all(seen)
    assert after == [True]
    assert not bench.permit.is_sounding()
    assert bench.clocks.passed_s == pytest.approx(0.5 + TAIL_S, abs=0.05)


def test_ring_has_short_bursts_and_pauses_in_which_hear_listens(bench: PlayerFixture) -> None:
    bench.open()
    ring = synthesize_ring(RATE_HZ, 10.0, TAIL_S)
    latest = bench.asked()
    states: list[tuple[float, bool]] = []

    def watch() -> None:
        states.append((bench.clocks.passed_s, bench.permit.is_sounding()))
        bench.clocks.at = [(bench.clocks.passed_s + 0.01, watch)]

    bench.clocks.at = [(0.0, watch)]

    bench.lay(bench.sealed(latest, ring))

    assert len(bench.output.sounds) >= 3
    assert all(len(samples) <= BURST_S * RATE_HZ for _, samples, _, _ in bench.output.sounds)
    edges = [
        (at, is_on)
        for (_, before), (at, is_on) in itertools.pairwise(states)
        if before is not is_on
    ]
    ends = [at for at, is_on in edges if not is_on]
    begins = [at for at, is_on in edges if is_on]
    pauses = [begin - end for end, begin in zip(ends, begins, strict=False) if begin > end]
    assert len(pauses) == len(bench.output.sounds) - 1
    assert min(pauses) >= RING_PAUSE_S - 0.05


@pytest.mark.parametrize("how", ["word", "button", "mute"])
def test_ring_is_stopped_in_a_pause(bench: PlayerFixture, how: str) -> None:
    bench.open()
    ring = synthesize_ring(RATE_HZ, 20.0, TAIL_S)
    latest = bench.asked()

    def wake() -> None:
        bench.permit.permit(is_permitted=False)
        # The clip of a short command has ended before the next burst.
        bench.clocks.at = [
            (bench.clocks.passed_s + 0.3, lambda: bench.permit.permit(is_permitted=True))
        ]

    event = {"word": wake, "button": bench.button.press, "mute": bench.mute}[how]
    burst_s = len(synthesize_ring(RATE_HZ, 0.1, TAIL_S)) / RATE_HZ
    bench.clocks.at = [(burst_s + TAIL_S + 0.3, event)]

    bench.lay(bench.sealed(latest, ring))

    assert len(bench.output.sounds) == 1


def test_each_built_in_sound_is_played_once_on_request(bench: PlayerFixture) -> None:
    bench.open()
    for sound in get_args(SoundName):
        bench.hear.request_sound(sound)
        bench.player.turn(0)
        bench.player.turn(0)

        assert bench.output.sounds.pop()[3]
        assert bench.output.sounds == []


@pytest.mark.parametrize("how", ["muted", "old"])
def test_requested_sound_is_not_played_later(bench: PlayerFixture, how: str) -> None:
    bench.open()
    bench.hear.request_sound("done")
    if how == "muted":
        bench.mute()
    else:
        bench.clocks.sleep(loop.LONGEST_SOUND_AGE_S + 0.1)

    bench.player.turn(0)
    bench.open()
    bench.player.turn(0)

    assert bench.output.sounds == []


def test_damaged_state_is_muted(bench: PlayerFixture) -> None:
    bench.open()
    reply = bench.sealed(bench.asked(), tone())
    (bench.folder / PLAYER_STATE).write_bytes(b'{"v":1,"muted":false}x')

    bench.lay(reply)

    assert bench.output.sounds == []


def test_broken_loudspeaker_is_logged_once_and_tried_again(
    bench: PlayerFixture, caplog: pytest.LogCaptureFixture
) -> None:
    bench.open()
    bench.output.is_broken = True
    for _ in range(2):
        assert not bench.player.play_sound("done")
    bench.output.is_broken = False

    assert bench.player.play_sound("done")
    assert len(caplog.records) == 1
    assert not bench.permit.is_sounding()


def test_watchdog_is_pinged_while_something_sounds(bench: PlayerFixture) -> None:
    bench.open()
    before = bench.pings

    bench.player.play_sound("consent")

    assert bench.pings - before > 20


def test_close_removes_the_key_and_the_replies(bench: PlayerFixture) -> None:
    (bench.folder / REPLIES / ("0" * 32)).write_bytes(b"x")

    bench.player.close()

    assert not (bench.folder / REPLY_KEY).exists()
    assert not any((bench.folder / REPLIES).iterdir())


def test_built_in_sounds_are_short_and_differ() -> None:
    made = [synthesize_sound(sound) for sound in get_args(SoundName)]

    assert all(0.1 * RATE_HZ < len(sound) <= BURST_S * RATE_HZ for sound in made)
    assert len({sound.tobytes() for sound in made}) == len(made)
    assert all(abs(int(sound[0])) + abs(int(sound[-1])) < 2_000 for sound in made)
