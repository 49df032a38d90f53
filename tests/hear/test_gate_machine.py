"""Whatever happens in whatever order: nothing that was said while shut is ever heard.

Promises 1 and 2, as a state machine over the real gate and the real ear.
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

pytestmark = pytest.mark.timeout(300)  # sixty runs of the whole ear

ODD_LENGTH = 700
LENGTHS = st.sampled_from([1, ODD_LENGTH, FRAME_SAMPLES])
SETTLED_TURNS = 6
MUTING = ("throw", "lose_the_line", "mute_by_message", "mute_by_hand", "find_a_fault")
UNMUTING = (
    "release",
    "mend_the_line",
    "unmute_by_message",
    "unmute_by_hand",
    "clear_the_fault",
)
MISHAPS = ("it_dies", "it_is_unplugged", "it_overruns", "it_breaks_off")


class AnyInterleaving(RuleBasedStateMachine):
    """Blocks, edges, read errors, deaths, stalls, software commands and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.shut_numbers: set[int] = set()
        self.must_be_shut_by_software = False
        """Somebody muted, and nobody has taken it back in a way that counts."""
        self.may_be_shut_by_software = False
        """Somebody muted, and it is not sure whether it was taken back."""
        self.is_faulty = False
        self.world: Any = None

    @initialize(remote_unmute=st.booleans())
    def begin(self, *, remote_unmute: bool) -> None:
        self.remote_unmute = remote_unmute
        self.world = SimulatedRoom(Path(self._folder.name), remote_unmute=remote_unmute)

    @property
    def is_muted(self) -> bool:
        return self.world.switch.is_shut_now or self.must_be_shut_by_software or self.is_faulty

    # What happens in the room.

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
        """And something after it; a clip takes seven frames, and sealing may take long."""
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
        """Speak, as long as there are numbers left; tell whether there were."""
        if self.world.spoken + length > MOST_SAMPLES:
            return False
        spoken = self.world.speak(length)
        if self.is_muted:
            self.shut_numbers.update(spoken)
        return True

    # What mutes, and what takes it back.

    @rule(what=st.sampled_from(MUTING))
    def mute(self, what: str) -> None:
        getattr(self, what)()

    @rule(what=st.sampled_from(UNMUTING))
    def unmute(self, what: str) -> None:
        getattr(self, what)()

    @rule(
        first=st.none() | st.sampled_from(UNMUTING),
        what=st.sampled_from(MUTING),
        back=st.none() | st.sampled_from(UNMUTING),
        place=st.sampled_from(["reads", "asked"]),
    )
    def mute_while_somebody_speaks(
        self, first: str | None, what: str, back: str | None, place: str
    ) -> None:
        """At the worst moment: what is said then waits in the pipe, and perhaps it opens again."""
        if self.world.loop.lamp_state not in ("idle", "hearing"):
            self.recover()
        for _ in range(8):
            if self.world.steps.place == place and self.world.microphone.is_open:
                break
            self.world.step()
        for happens in (first, what, back):
            if happens is not None:
                getattr(self, happens)()
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

    def mend_the_line(self) -> None:
        self.world.switch.mend()

    def mute_by_message(self) -> None:
        self.world.requests.waiting.append(control.MuteRequest())
        self.must_be_shut_by_software = self.may_be_shut_by_software = True

    def unmute_by_message(self) -> None:
        self.world.requests.waiting.append(control.UnmuteRequest())
        if self.remote_unmute:
            self.must_be_shut_by_software = False

    def mute_by_hand(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=True)
        self.must_be_shut_by_software = self.may_be_shut_by_software = True

    def unmute_by_hand(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=False)
        self.must_be_shut_by_software = False
        # Whoever asks at the same time by message may come second.
        self.may_be_shut_by_software = bool(self.world.requests.waiting)

    def find_a_fault(self) -> None:
        # The gate's own thread finds it, when it has read.
        if self.world.steps.place == "reads" and not self.is_faulty:
            self.world.mute.set_fault("only-zeros-while-open")
            self.is_faulty = True

    def clear_the_fault(self) -> None:
        if self.is_faulty:
            self._turn_a_while()  # until it is written
            self.world.lasting.set_fault(self.world.now(), None)
            self.is_faulty = False

    # What happens to the microphone, and to whoever seals.

    @rule(what=st.sampled_from(MISHAPS))
    def it_goes_wrong(self, what: str) -> None:
        getattr(self, what)()

    def it_dies(self) -> None:
        self.world.microphone.vanish(0)

    def it_is_unplugged(self) -> None:
        self.world.microphone.vanish(3)

    def it_overruns(self) -> None:
        self._speak(ODD_LENGTH)
        self.world.turn()
        self._speak(ODD_LENGTH)
        self.world.microphone.lose_blocks()

    def it_breaks_off(self) -> None:
        self.world.microphone.put(breaks())

    @rule()
    def sealing_goes_on(self) -> None:
        self.world.sealing.let_go()

    # What the ear does.

    @rule()
    def one_step(self) -> None:
        self.world.step()

    @rule()
    def recover(self) -> None:
        """Nothing mutes any more, and there is a microphone."""
        for what in UNMUTING:
            getattr(self, what)()
        self.world.microphone.absent_reads = 0
        self.settle()

    @rule()
    def settle(self) -> None:
        """With nothing happening any more, the ear is as the last of everything says."""
        self._turn_a_while()
        # It shows that it is open when the first sound has come.
        was_spoken = self._speak(FRAME_SAMPLES)
        self._turn_a_while()
        if self.is_muted:
            assert self.world.loop.lamp_state == ("fault" if self.is_faulty else "muted")
            assert not self.world.microphone.is_open
        elif was_spoken and not self.may_be_shut_by_software:
            assert self.world.loop.lamp_state in ("idle", "hearing")

    def _turn_a_while(self) -> None:
        for _ in range(SETTLED_TURNS):
            self.world.turn()

    # What must hold at every step.

    @invariant()
    def nothing_that_was_said_while_shut_was_heard(self) -> None:
        if self.world is not None:
            assert not self.world.detector.shown & self.shut_numbers

    @invariant()
    def nothing_is_left_while_it_is_muted(self) -> None:
        if self.world is not None and self.world.loop.lamp_state in ("muted", "fault"):
            assert not any(memory.any() for memory in self.world.clear_memory())
            if self.world.steps.place != "asked":  # where a first block may be on its way
                assert not any(block.any() for block in self.world.microphone.blocks)

    @invariant()
    def the_counters_add_up(self) -> None:
        if self.world is None:
            return
        tally = self.world.counters.tally()
        told = tally.discarded_samples + tally.sealed_samples + tally.held_samples
        assert tally.heard_samples == told
        if self.world.steps.place == "asked":
            return  # between the microphone and the framer, a block is on its way
        at = 0
        for sound in self.world.sounds:
            assert sound.first_sample == at, "the line has no holes"
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
        """End the ear: then nothing is held, and no clip has anything that was said while shut."""
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
            assert not set(clip) & self.shut_numbers
            assert_one_piece(clip)
        assert tally.sealed_samples == len(set().union(*clips))


def assert_one_piece(spoken: list[int]) -> None:
    """Numbers that follow each other, one by one."""
    if spoken:
        assert spoken == list(range(spoken[0], spoken[0] + len(spoken)))


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=30)
