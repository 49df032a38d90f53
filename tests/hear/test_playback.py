"""Own sound in the microphone's stream: a gap while it sounds, and never later than it began."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples
from listener.hear.gate import Gate
from listener.hear.playback import PlaybackMonitor
from listener.ipc.playback_locks import TAIL_S
from listener.system.systemd import StopSignal
from tests.fakes import FakeMicrophone, FakeSwitch

BLOCK_S = FRAME_SAMPLES / 16_000


class FakeLoudspeaker:
    def __init__(self) -> None:
        self.sounds = False
        self.number: int | None = 7
        self.now_s = 0.0

    def is_sounding(self) -> bool:
        return self.sounds

    def sound_number(self) -> int | None:
        return self.number

    def begin(self) -> None:
        self.sounds = True
        self.number = (self.number or 0) + 1

    def end(self) -> None:
        self.sounds = False

    def clock(self) -> float:
        return self.now_s

    def tick(self) -> float:
        self.now_s += BLOCK_S
        return self.now_s


def block(value: int) -> Samples:
    return np.full(FRAME_SAMPLES, value, np.int16)


def test_own_sound_is_a_gap_and_is_wiped() -> None:
    speaker = FakeLoudspeaker()
    microphone = FakeMicrophone(
        block(1), block(2), speaker.begin, block(3), block(4), speaker.end, block(5)
    )
    gate = Gate(microphone, FakeSwitch(), StopSignal(), PlaybackMonitor(speaker, speaker.tick))

    sounds = [
        int(sound.samples[0]) if isinstance(sound, Frame) else sound.reason
        for sound in gate.stream()
    ]

    # What begins or ends while a block is read is in that block.
    assert sounds == [1, *[GapReason.PLAYBACK] * 3, 5, GapReason.END]
    assert not any(read.any() for read in microphone.handed_out)


def test_own_sound_is_marked_where_the_card_cancels_its_echo() -> None:
    speaker = FakeLoudspeaker()
    half = np.full(FRAME_SAMPLES // 2, 4, np.int16)
    microphone = FakeMicrophone(
        block(1), speaker.begin, block(2), half, speaker.end, block(3), block(5), block(6)
    )
    monitor = PlaybackMonitor(speaker, speaker.tick)
    gate = Gate(microphone, FakeSwitch(), StopSignal(), monitor, cancels_echo=True)

    frames = [
        (int(sound.samples[0]), sound.has_own_sound)
        for sound in gate.stream()
        if isinstance(sound, Frame)
    ]

    # A frame is marked if any of its samples was read while the device sounded.
    assert [value for value, _ in frames] == [1, 2, 4, 3, 5]
    assert [is_marked for _, is_marked in frames][1:4] == [True, True, True]
    assert not frames[-1][1]
    assert not any(read.any() for read in microphone.handed_out)


def test_gap_cuts_the_unfinished_frame() -> None:
    speaker = FakeLoudspeaker()
    half = np.full(600, 7, np.int16)
    microphone = FakeMicrophone(half, block(2), speaker.begin)
    gate = Gate(microphone, FakeSwitch(), StopSignal(), PlaybackMonitor(speaker, speaker.clock))

    first = next(gate.stream())

    assert first == Gap(GapReason.PLAYBACK, 0, 600 + FRAME_SAMPLES, 600)


def test_mute_has_priority_over_own_sound() -> None:
    speaker, switch = FakeLoudspeaker(), FakeSwitch()
    speaker.begin()
    switch.shut()
    gate = Gate(
        FakeMicrophone(block(1)), switch, StopSignal(), PlaybackMonitor(speaker, speaker.clock)
    )

    assert {sound.reason for sound in gate.stream() if isinstance(sound, Gap)} == {
        GapReason.MUTED,
        GapReason.END,
    }


def test_audio_that_waited_at_the_end_of_a_sound_is_discarded() -> None:
    speaker = FakeLoudspeaker()
    monitor = PlaybackMonitor(speaker, speaker.clock)
    speaker.begin()
    assert monitor.covers(FRAME_SAMPLES)
    speaker.end()
    speaker.now_s += 3 * BLOCK_S

    assert [monitor.covers(FRAME_SAMPLES) for _ in range(5)] == [True] * 3 + [False] * 2


def test_sound_that_began_and_ended_during_a_lag_is_discarded() -> None:
    for change in (0, 1):
        speaker = FakeLoudspeaker()
        monitor = PlaybackMonitor(speaker, speaker.clock)
        assert not monitor.covers(FRAME_SAMPLES)
        speaker.now_s += 10 * BLOCK_S
        assert speaker.number is not None
        speaker.number += change

        covered = [monitor.covers(FRAME_SAMPLES) for _ in range(12)]

        assert covered == [True] * 10 * change + [False] * (12 - 10 * change)


def test_player_that_was_killed_while_hear_lagged_may_have_sounded() -> None:
    speaker = FakeLoudspeaker()
    monitor = PlaybackMonitor(speaker, speaker.clock)
    monitor.covers(0)
    speaker.now_s += BLOCK_S
    speaker.number = None

    assert monitor.covers(FRAME_SAMPLES)


@given(
    st.lists(st.tuples(st.floats(0.01, 1.5), st.booleans()), min_size=1, max_size=20),
    st.floats(0.05, 3.0),
    st.floats(0.0, 5.0),
)
def test_no_sample_of_a_sound_passes_whatever_the_lag(
    waits: list[tuple[float, bool]], length_s: float, begin_s: float
) -> None:
    """Hear reads late by any time; the pipe keeps one block for each that was not read."""
    speaker = FakeLoudspeaker()
    monitor = PlaybackMonitor(speaker, speaker.clock)
    end_s = begin_s + length_s
    captured_s = 0.0
    passed: list[float] = []
    monitor.covers(0)  # as the gate does before the microphone starts
    for wait_s, is_in_consumer in [*waits, *[(BLOCK_S, False)] * 120]:
        speaker.now_s += wait_s
        speaker.sounds = begin_s <= speaker.now_s < end_s + TAIL_S
        speaker.number = 7 + (begin_s <= speaker.now_s)
        if is_in_consumer:  # else it waited in the read itself
            monitor.covers(0)
        while captured_s + BLOCK_S <= speaker.now_s:
            if not monitor.covers(FRAME_SAMPLES):
                passed.append(captured_s)
            captured_s += BLOCK_S

    # A block that was captured while it sounded: its end lies behind the begin of the sound.
    heard = [at for at in passed if at + BLOCK_S > begin_s and at < end_s]
    assert heard == []
    assert passed, "it listens again afterwards"


def test_first_read_after_the_start_and_after_a_mute_is_no_lag() -> None:
    speaker, switch = FakeLoudspeaker(), FakeSwitch()

    def turn() -> None:
        speaker.now_s += BLOCK_S

    monitor = PlaybackMonitor(speaker, speaker.clock)
    speaker.now_s += 5.0  # the models are loaded
    muted = [event for _ in range(60) for event in (block(2), turn)]
    microphone = FakeMicrophone(block(1), switch.shut, *muted, switch.release, block(3))
    gate = Gate(microphone, switch, StopSignal(), monitor)

    reasons = [sound.reason for sound in gate.stream() if isinstance(sound, Gap)]

    assert GapReason.PLAYBACK not in reasons
