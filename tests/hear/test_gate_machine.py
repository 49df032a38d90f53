"""Whatever happens in whatever order: nothing that was said while shut is ever heard.

Promises 1 and 2, as a state machine over the real gate and the real ear.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from listener import control
from listener.hear.lasting import FaultReason
from listener.sound.pcm import FRAME_SAMPLES, Frame, Gap, GapReason
from tests.hear.world import MOST_SAMPLES, World, breaks

LONGEST_BLOCK = FRAME_SAMPLES
SETTLED_TURNS = 6


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
        self.world = World(Path(self._folder.name), remote_unmute=remote_unmute)

    @property
    def is_shut(self) -> bool:
        return self.world.switch.is_shut_now or self.must_be_shut_by_software or self.is_faulty

    # What happens in the room.

    @rule(length=st.integers(1, LONGEST_BLOCK))
    def speak(self, length: int) -> None:
        self._speak(length)

    @rule(frames=st.integers(1, 3))
    def speak_on(self, frames: int) -> None:
        for _ in range(frames):
            self._speak(FRAME_SAMPLES)
            self.world.turn()

    @rule()
    def say_the_word(self) -> None:
        self.world.detector.expect_word()

    def _speak(self, length: int) -> bool:
        """Speak, as long as there are numbers left; tell whether there were."""
        if self.world.spoken + length > MOST_SAMPLES:
            return False
        spoken = self.world.speak(length)
        if self.is_shut:
            self.shut_numbers.update(spoken)
        return True

    # What happens to the switch.

    @rule()
    def throw(self) -> None:
        self.world.switch.throw()

    @rule()
    def release(self) -> None:
        self.world.switch.release()

    @rule(edges=st.integers(1, 6))
    def bounce(self, edges: int) -> None:
        for edge in range(edges):
            self.world.switch.release() if edge % 2 else self.world.switch.throw()

    @rule()
    def lose_the_line(self) -> None:
        self.world.switch.lose()

    @rule()
    def mend_the_line(self) -> None:
        self.world.switch.mend()

    # What software says.

    @rule()
    def mute_by_message(self) -> None:
        self.world.requests.waiting.append(control.Mute())
        self.must_be_shut_by_software = self.may_be_shut_by_software = True

    @rule()
    def unmute_by_message(self) -> None:
        self.world.requests.waiting.append(control.Unmute())
        if self.remote_unmute:
            self.must_be_shut_by_software = False

    @rule()
    def mute_by_hand(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=True)
        self.must_be_shut_by_software = self.may_be_shut_by_software = True

    @rule()
    def unmute_by_hand(self) -> None:
        self.world.lasting.mute(self.world.now(), "command", muted=False)
        self.must_be_shut_by_software = False
        # Whoever asks at the same time by message may come second.
        self.may_be_shut_by_software = bool(self.world.requests.waiting)

    @rule(reason=st.sampled_from(["sound-while-muted", "only-zeros-while-open"]))
    @precondition(lambda self: self.world.steps.place == "reads" and not self.is_faulty)
    def find_a_fault(self, reason: FaultReason) -> None:
        self.world.mute.fault(reason)
        self.is_faulty = True

    @rule()
    @precondition(lambda self: self.is_faulty)
    def clear_the_fault(self) -> None:
        self._turn_until_written()
        self.world.lasting.set_fault(self.world.now(), None)
        self.is_faulty = False

    # What happens to the microphone.

    @rule(reads=st.integers(0, 4))
    def the_microphone_dies(self, reads: int) -> None:
        self.world.microphone.vanish(reads)

    @rule()
    def it_overruns(self) -> None:
        self.world.microphone.lose_blocks()

    @rule()
    def it_breaks_off(self) -> None:
        self.world.microphone.put(breaks())

    # What the ear does.

    @rule()
    def one_step(self) -> None:
        self.world.step()

    @rule()
    def one_turn(self) -> None:
        self.world.turn()

    @rule()
    def settle(self) -> None:
        """With nothing happening any more, the ear is as the last of everything says."""
        self._turn_until_written()
        # It shows that it is open when the first sound has come.
        was_spoken = self._speak(FRAME_SAMPLES)
        self._turn_until_written()
        if self.is_shut:
            assert self.world.ear.lamp == ("fault" if self.is_faulty else "muted")
            assert not self.world.microphone.is_open
        elif was_spoken and not self.may_be_shut_by_software:
            assert self.world.ear.lamp in ("idle", "hearing")

    def _turn_until_written(self) -> None:
        for _ in range(SETTLED_TURNS):
            self.world.turn()

    # What must hold at every step.

    @invariant()
    def nothing_that_was_said_while_shut_was_heard(self) -> None:
        if self.world is not None:
            shown = set(self.world.detector.stretches[-1])
            assert not shown & self.shut_numbers

    @invariant()
    def what_is_heard_between_two_gaps_was_said_in_one_piece(self) -> None:
        if self.world is not None:
            assert_one_piece(self.world.detector.stretches[-1])

    @invariant()
    def nothing_is_left_while_it_is_muted(self) -> None:
        if self.world is not None and self.world.ear.lamp in ("muted", "fault"):
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
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
