"""State machine for promises 1 and 2: no sample of a muted time is ever processed.

Hypothesis runs events in any order against the real gate and the real main loop.
"""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason
from listener.ipc import control
from tests.hear.simulated_room import MOST_SAMPLES, SimulatedRoom, breaks

pytestmark = pytest.mark.timeout(300)  # sixty runs of the whole main loop

ODD_LENGTH = 700
LENGTHS = st.sampled_from([1, ODD_LENGTH, FRAME_SAMPLES])
SETTLED_TURNS = 6
MUTING = ("throw", "lose_the_line", "mute_by_message", "mute_by_command", "set_a_fault")
UNMUTING = (
    "release",
    "restore_the_line",
    "unmute_by_message",
    "unmute_by_command",
    "clear_the_fault",
)
MISHAPS = ("process_crashes", "device_is_unplugged", "device_overruns", "device_fails")


class AnyInterleaving(RuleBasedStateMachine):
    """Blocks, edges, read errors, crashes, stalls, software commands and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.muted_numbers: set[int] = set()
        self.is_software_muted = False
        """A software mute is in force: no valid unmute followed it."""
        self.may_be_software_muted = False
        """A software mute may be in force: an unmute followed, but a request may come after it."""
        self.is_faulty = False
        self.world: Any = None

    @initialize(remote_unmute=st.booleans())
    def begin(self, *, remote_unmute: bool) -> None:
        self.remote_unmute = remote_unmute
        self.world = SimulatedRoom(Path(self._folder.name), remote_unmute=remote_unmute)

    @property
    def is_muted(self) -> bool:
        return self.world.switch.is_shut_now or self.is_software_muted or self.is_faulty

    # Sound in the room.

    @rule(length=LENGTHS)
    def speak(self, length: int) -> None:
        self._speak(length)

    @rule(frames=st.integers(1, 4))
    def speak_on(self, frames: int) -> None:
        for _ in range(frames):
            self._speak(FRAME_SAMPLES)
            self.world.turn()

    @rule(
        before=st.integers(0, 4),
        mishap=st.none() | st.sampled_from(MISHAPS),
        after=st.sampled_from([2, 12]),
        is_slow=st.booleans(),
    )
    def say_the_word(self, before: int, mishap: str | None, after: int, *, is_slow: bool) -> None:
        """Speak the wake word and more; a clip takes seven frames, and sealing may be slow."""
        if self.world.loop.lamp_state not in ("idle", "hearing"):
            self.recover()
        self.world.detector.expect_word()
        self.speak_on(before)
        if is_slow:
            self.world.sealing.hold()
        if mishap is not None:
            getattr(self, mishap)()
        self.speak_on(after)

    def _speak(self, length: int) -> bool:
        """Speak if there are numbers left; return whether there were."""
        if self.world.spoken + length > MOST_SAMPLES:
            return False
        spoken = self.world.speak(length)
        if self.is_muted:
            self.muted_numbers.update(spoken)
        return True

    # Mute and unmute.

    @rule(action=st.sampled_from(MUTING))
    def mute(self, action: str) -> None:
        getattr(self, action)()

    @rule(action=st.sampled_from(UNMUTING))
    def unmute(self, action: str) -> None:
        getattr(self, action)()

    @rule(
        first=st.none() | st.sampled_from(UNMUTING),
        action=st.sampled_from(MUTING),
        back=st.none() | st.sampled_from(UNMUTING),
        place=st.sampled_from(["reads", "asked"]),
    )
    def mute_while_sound_is_pending(
        self, first: str | None, action: str, back: str | None, place: str
    ) -> None:
        """Mute while sound waits in the pipe, and perhaps unmute at once."""
        if self.world.loop.lamp_state not in ("idle", "hearing"):
            self.recover()
        for _ in range(8):
            if self.world.steps.place == place and self.world.microphone.is_open:
                break
            self.world.step()
        for event in (first, action, back):
            if event is not None:
                getattr(self, event)()
                self._speak(FRAME_SAMPLES)
        self.speak_on(2)

    @rule(edges=st.integers(1, 6), length=st.integers(0, 100))
    def bounce(self, edges: int, length: int) -> None:
        for edge in range(edges):
            if edge % 2:
                self.world.switch.release()
            else:
                self.world.switch.throw()
            self._speak(length)

    def throw(self) -> None:
        self.world.switch.throw()

    def release(self) -> None:
        self.world.switch.release()

    def lose_the_line(self) -> None:
        self.world.switch.lose()

    def restore_the_line(self) -> None:
        self.world.switch.mend()

    def mute_by_message(self) -> None:
        self.world.requests.waiting.append(control.MuteRequest())
        self.is_software_muted = self.may_be_software_muted = True

    def unmute_by_message(self) -> None:
        self.world.requests.waiting.append(control.UnmuteRequest())
        if self.remote_unmute:
            self.is_software_muted = False

    def mute_by_command(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=True)
        self.is_software_muted = self.may_be_software_muted = True

    def unmute_by_command(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=False)
        self.is_software_muted = False
        # A request by message at the same time may be handled after this.
        self.may_be_software_muted = bool(self.world.requests.waiting)

    def set_a_fault(self) -> None:
        # The gate's own thread finds it, when it has read.
        if self.world.steps.place == "reads" and not self.is_faulty:
            self.world.mute.set_fault("only-zeros-while-open")
            self.is_faulty = True

    def clear_the_fault(self) -> None:
        if self.is_faulty:
            self._turn_a_while()  # until it is written
            self.world.lasting.set_fault(self.world.now(), None)
            self.is_faulty = False

    # Failures of the microphone, and slow sealing.

    @rule(action=st.sampled_from(MISHAPS))
    def microphone_fails(self, action: str) -> None:
        getattr(self, action)()

    def process_crashes(self) -> None:
        self.world.microphone.vanish(0)

    def device_is_unplugged(self) -> None:
        self.world.microphone.vanish(3)

    def device_overruns(self) -> None:
        self._speak(ODD_LENGTH)
        self.world.turn()
        self._speak(ODD_LENGTH)
        self.world.microphone.lose_blocks()

    def device_fails(self) -> None:
        self.world.microphone.put(breaks())

    @rule()
    def sealing_goes_on(self) -> None:
        self.world.sealing.let_go()

    # Steps of the main loop.

    @rule()
    def one_step(self) -> None:
        self.world.step()

    @rule()
    def recover(self) -> None:
        """Unmute everything and restore the microphone."""
        for action in UNMUTING:
            getattr(self, action)()
        self.world.microphone.absent_reads = 0
        self.settle()

    @rule()
    def settle(self) -> None:
        """Without further events, the state follows the last event of each source."""
        self._turn_a_while()
        # It shows that it is open after the first block.
        was_spoken = self._speak(FRAME_SAMPLES)
        self._turn_a_while()
        if self.is_muted:
            assert self.world.loop.lamp_state == ("fault" if self.is_faulty else "muted")
            assert not self.world.microphone.is_open
        elif was_spoken and not self.may_be_software_muted:
            assert self.world.loop.lamp_state in ("idle", "hearing")

    def _turn_a_while(self) -> None:
        for _ in range(SETTLED_TURNS):
            self.world.turn()

    # Invariants.

    @invariant()
    def no_muted_sample_reaches_the_detector(self) -> None:
        if self.world is not None:
            assert not self.world.detector.shown & self.muted_numbers

    @invariant()
    def memory_is_wiped_while_muted(self) -> None:
        if self.world is not None and self.world.loop.lamp_state in ("muted", "fault"):
            assert not any(memory.any() for memory in self.world.clear_memory())
            if self.world.steps.place != "asked":  # where a first block may be in transit
                assert not any(block.any() for block in self.world.microphone.blocks)

    @invariant()
    def the_counters_add_up(self) -> None:
        if self.world is None:
            return
        tally = self.world.counters.tally()
        accounted = tally.discarded_samples + tally.sealed_samples + tally.held_samples
        assert tally.heard_samples == accounted
        if self.world.steps.place == "asked":
            return  # a block is in transit between the microphone and the framer
        at = 0
        for sound in self.world.sounds:
            assert sound.first_sample == at, "frames and gaps are contiguous"
            at += FRAME_SAMPLES if isinstance(sound, Frame) else sound.length_samples
        gaps = [sound for sound in self.world.sounds if isinstance(sound, Gap)]
        frames = len(self.world.sounds) - len(gaps)
        assert tally.heard_samples == frames * FRAME_SAMPLES + sum(g.cut_samples for g in gaps)
        pending = self.world.gate.position_samples - at
        microphone = self.world.microphone
        assert tally.heard_samples + tally.muted_samples + pending == (
            microphone.handed_out + microphone.skipped
        )
        assert tally.muted_samples == sum(
            gap.length_samples - gap.cut_samples for gap in gaps if gap.reason is GapReason.MUTED
        )
        assert tally.wakes == self.world.detector.wakes

    def teardown(self) -> None:
        """End the main loop: nothing is held, and no clip has a sample of a muted time."""
        try:
            if self.world is not None:
                self.world.end()
                self._check_end()
        finally:
            self._folder.cleanup()

    def _check_end(self) -> None:
        tally = self.world.counters.tally()
        assert tally.held_samples == 0
        assert tally.heard_samples == tally.discarded_samples + tally.sealed_samples
        assert not any(memory.any() for memory in self.world.clear_memory())
        assert not self.world.microphone.is_open
        clips = self.world.clips()
        assert len(clips) == tally.sealed
        for clip in clips:
            assert not set(clip) & self.muted_numbers
            assert_one_piece(clip)
        assert tally.sealed_samples == len(set().union(*clips))


def assert_one_piece(spoken: list[int]) -> None:
    """Assert that the numbers are consecutive."""
    if spoken:
        assert spoken == list(range(spoken[0], spoken[0] + len(spoken)))


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=30)
