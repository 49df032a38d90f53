"""The gate on what is to be heard: with the real PortAudio where a device is."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from listener.audio.pcm import Frame, Gap, GapReason
from listener.config import MicrophoneSettings
from listener.errors import Unavailable
from listener.hear import report
from listener.hear.herald import EventPublisher
from listener.hear.microphone.devices import load_portaudio
from listener.hear.microphone.records import Cause
from listener.hear.mute.lasting import MuteFiles
from listener.hear.mute.muting import MuteController
from listener.hear.opening import open_gate
from listener.ipc.control import ControlSocket
from listener.system.systemd import StopSignal
from tests import cards
from tests.fakes import FakePost

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class OpenSwitch:
    """A switch that is never thrown."""

    def __init__(self, about: str) -> None:
        self.about = about

    def is_muted(self, at_sample: int) -> bool:
        del at_sample
        return False

    def filenos(self) -> Sequence[int]:
        return ()


class Bench:
    def __init__(self, home: Path, about: str = "input") -> None:
        self.events: list[report.Event] = []
        self.stop = StopSignal()
        self.lasting = MuteFiles(home)
        self.requests = ControlSocket(home / "control.sock")
        self.mute = MuteController(
            OpenSwitch(about),
            self.lasting,
            self.requests,
            remote_unmute=False,
            now=partial(datetime.now, UTC),
            monotonic_s=monotonic,
        )
        self.herald = EventPublisher(
            self.events.append, FakePost(), lambda _: bytes(64), on_nobody_reads=bool
        )

    def lost(self) -> list[Cause]:
        return [
            event.cause for event in self.events if isinstance(event, report.MicrophoneLostEvent)
        ]


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    made = Bench(home)
    yield made
    made.requests.close()


@pytest.fixture
def zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A card that gives zeros."""
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


def test_recordings_are_heard_to_their_end(bench: Bench) -> None:
    settings = MicrophoneSettings(files=(str(FIXTURES / "silence.flac"),))

    gate = open_gate(settings, bench.mute, bench.stop, bench.herald.publish, is_fast=True)
    sounds = list(gate.stream())

    assert any(isinstance(sound, Frame) for sound in sounds)
    assert isinstance(sounds[-1], Gap)
    assert sounds[-1].reason is GapReason.END


@pytest.mark.system
def test_only_zeros_from_an_open_switch_are_a_fault_that_lasts(bench: Bench, zeros: str) -> None:
    settings = MicrophoneSettings(device=zeros)
    gate = open_gate(settings, bench.mute, bench.stop, bench.herald.publish, is_fast=False)

    for sound in gate.stream():
        if isinstance(sound, Gap) and sound.reason is GapReason.MUTED and sound.length_samples:
            bench.stop.request()

    assert bench.lost() == [Cause.ZEROS]
    assert bench.mute.cause == "fault"
    recorded = bench.lasting.fault.read()
    assert recorded is not None
    assert recorded.reason == "only-zeros-while-open"


@pytest.mark.system
def test_only_zeros_where_no_switch_is_fitted_contradict_nothing(home: Path, zeros: str) -> None:
    bench = Bench(home, "none")
    gate = open_gate(
        MicrophoneSettings(device=zeros),
        bench.mute,
        bench.stop,
        bench.herald.publish,
        is_fast=False,
    )

    for sound in gate.stream():
        if isinstance(sound, Gap) and sound.reason is GapReason.LOST:
            bench.stop.request()

    assert bench.lost() == [Cause.ZEROS]
    assert bench.mute.cause == "open"
    bench.requests.close()
