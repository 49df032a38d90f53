"""Gate: mute, gaps, wiping and faults; with the real PortAudio where a device is used."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from listener.audio.pcm import FRAME_SAMPLES, Frame, Gap, GapReason, Samples, Sound
from listener.config import MicrophoneSettings
from listener.errors import Unavailable
from listener.hear import events
from listener.hear.gate import Gate, open_gate
from listener.hear.microphone.devices import load_portaudio
from listener.hear.microphone.protocol import Cause
from listener.hear.mute.controller import MuteController
from listener.hear.mute.state import MuteFiles
from listener.hear.publisher import EventPublisher
from listener.ipc.control import ControlSocket
from listener.spool.ledger import KernelClock
from listener.system.systemd import StopSignal
from tests import cards
from tests.fakes import FakeMicrophone, FakePost, FakeSwitch, breaks


def block(value: int, length: int = FRAME_SAMPLES) -> Samples:
    return np.full(length, value, np.int16)


def read_all(gate: Gate) -> list[Sound]:
    """Return all that the gate yields, with copies of the frames' samples."""
    return [
        Frame(sound.samples.copy(), sound.first_sample) if isinstance(sound, Frame) else sound
        for sound in gate.stream()
    ]


def values(sounds: list[Sound]) -> list[int]:
    """Return each frame's distinct samples, in order."""
    return [
        int(value)
        for sound in sounds
        if isinstance(sound, Frame)
        for value in dict.fromkeys(sound.samples.tolist())
    ]


def test_open_gate_passes_all_frames_and_ends_with_an_end_gap() -> None:
    gate = Gate(FakeMicrophone(block(1), block(2, 100)), FakeSwitch(), StopSignal())

    sounds = read_all(gate)

    assert values(sounds) == [1]
    assert sounds[-1] == Gap(GapReason.END, FRAME_SAMPLES, 100, 100)


def test_muted_gate_passes_no_frame_and_keeps_counting_samples() -> None:
    switch = FakeSwitch()
    microphone = FakeMicrophone(
        block(1), switch.shut, block(2), block(3), switch.release, block(4), block(5)
    )
    gate = Gate(microphone, switch, StopSignal())

    sounds = read_all(gate)

    # The switch was muted at the end of block 1, and released after block 3.
    assert values(sounds) == [4, 5]
    assert [s.first_sample for s in sounds if isinstance(s, Frame)] == [3_840, 5_120]
    assert microphone.times_shut > 0


def test_both_edges_within_one_block_mute_that_block() -> None:
    switch = FakeSwitch()
    gate = Gate(
        FakeMicrophone(block(1), block(2), switch.shut, switch.release, block(3)),
        switch,
        StopSignal(),
    )

    sounds = read_all(gate)

    assert values(sounds) == [1, 3]
    assert sounds[1] == Gap(GapReason.MUTED, FRAME_SAMPLES, FRAME_SAMPLES)


def test_unreadable_switch_mutes_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    switch = FakeSwitch()
    gate = Gate(
        FakeMicrophone(block(1), block(2), switch.lose, block(3), switch.mend, block(4)),
        switch,
        StopSignal(),
    )

    with caplog.at_level(logging.ERROR):
        sounds = read_all(gate)

    assert values(sounds) == [1, 4]
    assert [record.message for record in caplog.records] == [
        "the mute switch cannot be read, so this is muted: the line is gone"
    ]


def test_microphone_failure_is_a_gap_and_is_recorded() -> None:
    gate = Gate(FakeMicrophone(block(1), breaks(), block(2)), FakeSwitch(), StopSignal())

    sounds = read_all(gate)

    assert [s.reason for s in sounds if isinstance(s, Gap)] == [GapReason.LOST, GapReason.END]
    assert values(sounds) == [1, 2]
    assert gate.broken == ["the device is gone"]


def test_microphone_failure_while_muted_is_a_gap() -> None:
    switch = FakeSwitch()
    switch.shut()
    gate = Gate(FakeMicrophone(block(1), breaks(), block(2)), switch, StopSignal())

    sounds = read_all(gate)

    assert [s.reason for s in sounds if isinstance(s, Gap)] == ["muted", "lost", "muted", "end"]


def test_overrun_is_a_gap_that_cuts_the_pending_samples() -> None:
    gate = Gate(
        FakeMicrophone(block(1, 2_000), GapReason.OVERRUN, block(2)), FakeSwitch(), StopSignal()
    )

    sounds = read_all(gate)

    assert sounds[1] == Gap(GapReason.OVERRUN, FRAME_SAMPLES, 720, 720)
    assert values(sounds) == [1, 2]


def test_time_without_a_device_is_counted_in_gaps() -> None:
    microphone = FakeMicrophone(block(1), GapReason.LOST, 1_280, 700, block(2))

    sounds = read_all(Gate(microphone, FakeSwitch(), StopSignal()))

    assert sounds[1:4] == [
        Gap(GapReason.LOST, 1_280),
        Gap(GapReason.LOST, 1_280, 1_280),
        Gap(GapReason.LOST, 2_560, 700),
    ]
    assert values(sounds) == [1, 2]


def test_empty_block_reads_the_switch_and_yields_nothing() -> None:
    switch = FakeSwitch()
    nothing = block(0, 0)
    microphone = FakeMicrophone(nothing, block(1, 600), nothing, switch.shut, 5, nothing)

    sounds = read_all(Gate(microphone, switch, StopSignal()))

    # The edge after the empty block mutes at once: the pending samples are cut, no time passes.
    assert sounds[0] == Gap(GapReason.MUTED, 0, 600, 600)
    assert sounds[1] == Gap(GapReason.MUTED, 600, 5)
    assert values(sounds) == []


def test_closing_the_stream_closes_the_microphone() -> None:
    microphone = FakeMicrophone(block(1), block(2))
    sounds = Gate(microphone, FakeSwitch(), StopSignal()).stream()
    next(sounds)

    sounds.close()

    assert microphone.times_shut == 1


def test_stop_request_ends_the_stream_without_an_end_gap() -> None:
    stop = StopSignal()
    gate = Gate(FakeMicrophone(block(1), stop.request, block(2)), FakeSwitch(), stop)

    assert values(read_all(gate)) == [1]
    assert gate.position_samples == FRAME_SAMPLES


def test_frames_and_blocks_are_overwritten_after_use() -> None:
    microphone = FakeMicrophone(block(1, 3_000), block(2, 3_000))
    gate = Gate(microphone, FakeSwitch(), StopSignal())

    frames = [sound for sound in gate.stream() if isinstance(sound, Frame)]

    assert len(frames) == 4
    assert not any(frame.samples.any() for frame in frames)
    assert not any(block.any() for block in microphone.handed_out)


class AnyInterleaving(RuleBasedStateMachine):
    """Blocks, switch edges, unreadable lines and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.switch = FakeSwitch()
        self.script: list[object] = []
        self.open_values: set[int] = set()
        self.value = 0
        self.is_muted = self.is_lost = self.follows_a_block = False

    @rule(length=st.integers(1, 2 * FRAME_SAMPLES))
    def speak(self, length: int) -> None:
        self.value += 1
        self.script.append(block(self.value, length))
        self.follows_a_block = True
        if not (self.is_muted or self.is_lost):
            self.open_values.add(self.value)

    @rule()
    @precondition(lambda self: not self.is_muted)
    def throw(self) -> None:
        self._note_edge()
        self.is_muted = True
        self.script.append(self.switch.shut)

    @rule()
    def release(self) -> None:
        self.is_muted = False
        self.script.append(self.switch.release)

    @rule()
    @precondition(lambda self: not self.is_lost)
    def lose_the_line(self) -> None:
        self._note_edge()
        self.is_lost = True
        self.script.append(self.switch.lose)

    @rule()
    def restore_the_line(self) -> None:
        self.is_lost = False
        self.script.append(self.switch.mend)

    def _note_edge(self) -> None:
        # An edge right after a block happened during that block.
        if self.follows_a_block:
            self.open_values.discard(self.value)

    @rule()
    def fail(self) -> None:
        self.follows_a_block = False
        self.script.append(breaks())

    @rule()
    def overrun(self) -> None:
        self.follows_a_block = False
        self.script.append(GapReason.OVERRUN)

    def teardown(self) -> None:
        """Run the script: no sample of a muted time is in a frame."""
        switch = FakeSwitch()
        methods = {
            self.switch.shut: switch.shut,
            self.switch.release: switch.release,
            self.switch.lose: switch.lose,
            self.switch.mend: switch.mend,
        }
        script = [methods[e] if callable(e) else e for e in self.script]
        sounds = read_all(Gate(FakeMicrophone(*script), switch, StopSignal()))  # type: ignore[arg-type]  # built from these kinds

        assert set(values(sounds)) <= self.open_values
        at = 0
        for sound in sounds:
            assert sound.first_sample == at, "frames and gaps are contiguous"
            at += FRAME_SAMPLES if isinstance(sound, Frame) else sound.length_samples


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(max_examples=60, stateful_step_count=30)


@given(st.lists(st.integers(1, 4_000), max_size=10))
def test_every_unmuted_sample_is_in_a_frame_or_counted_as_cut(lengths: list[int]) -> None:
    gate = Gate(FakeMicrophone(*[block(1, n) for n in lengths]), FakeSwitch(), StopSignal())

    sounds = read_all(gate)

    frames = sum(FRAME_SAMPLES for sound in sounds if isinstance(sound, Frame))
    cut = sum(sound.cut_samples for sound in sounds if isinstance(sound, Gap))
    assert frames + cut == sum(lengths)


FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class OpenSwitch:
    """Switch that is always open."""

    def __init__(self, about: str) -> None:
        self.about = about

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        return False

    def filenos(self) -> Sequence[int]:
        return ()


class Bench:
    def __init__(self, home: Path, about: str = "input") -> None:
        self.events: list[events.Event] = []
        self.stop = StopSignal()
        self.files = MuteFiles(home)
        self.requests = ControlSocket(home / "control.sock")
        self.mute = MuteController(
            OpenSwitch(about),
            self.files,
            self.requests,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=monotonic,
            boot_clock=KernelClock(),
        )
        self.publisher = EventPublisher(
            self.events.append, FakePost(), lambda _: bytes(64), on_reader_gone=bool
        )

    def lost(self) -> list[Cause]:
        return [
            event.cause for event in self.events if isinstance(event, events.MicrophoneLostEvent)
        ]


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    created = Bench(home)
    yield created
    created.requests.close()


@pytest.fixture
def zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a card that delivers zeros."""
    try:
        load_portaudio()
    except Unavailable:
        pytest.fail("libportaudio2 is not installed: make debian")
    file = tmp_path / "zeros.raw"
    file.write_bytes(bytes(2 * 16_000 * 10))
    monkeypatch.setenv(
        cards.VARIABLE, cards.write_settings(tmp_path, **{"earmark-zeros": cards.of_file(file)})
    )
    return "earmark-zeros"


def test_recordings_are_read_to_their_end(bench: Bench) -> None:
    settings = MicrophoneSettings(files=(str(FIXTURES / "silence.flac"),))

    gate = open_gate(settings, bench.mute, bench.stop, bench.publisher.publish, is_fast=True)
    sounds = list(gate.stream())

    assert any(isinstance(sound, Frame) for sound in sounds)
    assert isinstance(sounds[-1], Gap)
    assert sounds[-1].reason is GapReason.END


@pytest.mark.system
def test_zeros_with_an_open_switch_store_a_fault(bench: Bench, zeros: str) -> None:
    settings = MicrophoneSettings(device=zeros)
    gate = open_gate(settings, bench.mute, bench.stop, bench.publisher.publish, is_fast=False)

    for sound in gate.stream():
        if isinstance(sound, Gap) and sound.reason is GapReason.MUTED and sound.length_samples:
            bench.stop.request()

    assert bench.lost() == [Cause.ZEROS]
    assert bench.mute.cause == "fault"
    recorded = bench.files.fault.read()
    assert recorded is not None
    assert recorded.reason == "only-zeros-while-open"


@pytest.mark.system
def test_zeros_without_a_fitted_switch_are_not_a_fault(home: Path, zeros: str) -> None:
    bench = Bench(home, "none")
    gate = open_gate(
        MicrophoneSettings(device=zeros),
        bench.mute,
        bench.stop,
        bench.publisher.publish,
        is_fast=False,
    )

    for sound in gate.stream():
        if isinstance(sound, Gap) and sound.reason is GapReason.LOST:
            bench.stop.request()

    assert bench.lost() == [Cause.ZEROS]
    assert bench.mute.cause == "open"
    bench.requests.close()
