"""Tests of the chime's process, partly with PortAudio on ALSA's null device."""

import array
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.config import ChimeSettings
from listener.errors import Unavailable
from listener.hear.indicators.chime import chime_command
from listener.hear.indicators.chime_process import (
    FAILED,
    PLAYED,
    RATES_HZ,
    play_chime,
    synthesize_chime,
)
from listener.hear.microphone.devices import load_portaudio

CARD = "pcm.!default { type null }\nctl.!default { type null }\n"
NO_CARD = "pcm.!default { type hw card 77 }\n"


@given(st.sampled_from(RATES_HZ), st.floats(0.01, 1.0))
def test_tone_is_short_and_fades_in_and_out(rate_hz: int, volume: float) -> None:
    samples = array.array("h", synthesize_chime(rate_hz, volume))

    assert len(samples) == 2 * round(0.09 * rate_hz)
    assert samples[0] == 0
    assert abs(samples[-1]) < 0.02 * 32_767 + 1
    assert max(map(abs, samples)) <= volume * 32_767 + 1
    assert max(map(abs, samples)) > 0.9 * volume * 32_767 - 1


class FakePortAudio:
    """A fake sounddevice whose loudspeaker supports one rate, or none."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rate_hz: int | None) -> None:
        self.rate_hz = rate_hz
        self.requests: list[dict[str, Any]] = []
        self.written = b""
        self.stopped = self.closed = 0

    def RawOutputStream(self, **options: Any) -> "FakePortAudio":  # noqa: ANN401, N802 - sounddevice's
        self.requests.append(options)
        if options["samplerate"] != self.rate_hz:
            raise self.PortAudioError
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def write(self, data: bytes) -> None:
        self.written += data

    def stop(self) -> None:
        self.stopped += 1


def test_loudspeaker_is_open_only_while_the_tone_plays() -> None:
    portaudio = FakePortAudio(44_100)

    assert play_chime(portaudio, "", 0.5)

    assert portaudio.written == synthesize_chime(44_100, 0.5)
    assert (portaudio.stopped, portaudio.closed) == (1, 1)
    assert [request["device"] for request in portaudio.requests] == [None, None]


@pytest.mark.parametrize(("name", "device"), [("3", 3), ("USB", "USB"), ("", None)])
def test_loudspeaker_is_selected_by_index_or_name(name: str, device: object) -> None:
    portaudio = FakePortAudio(None)

    assert not play_chime(portaudio, name, 0.5)

    assert {request["device"] for request in portaudio.requests} == {device}
    assert len(portaudio.requests) == len(RATES_HZ)


@pytest.mark.system
@pytest.mark.parametrize(("card", "answer"), [(CARD, PLAYED), (NO_CARD, FAILED)])
def test_real_process_plays_on_request_and_exits_at_end_of_input(
    tmp_path: Path, card: str, answer: bytes
) -> None:
    try:
        load_portaudio()
    except (Unavailable, ModuleNotFoundError):
        pytest.skip("PortAudio is not installed: make debian")
    config = tmp_path / "asoundrc"
    config.write_text(card)
    process = subprocess.Popen(
        chime_command(ChimeSettings(on_wake=True)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"ALSA_CONFIG_PATH": str(config)},
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(2):
        process.stdin.write(b"p")
        assert process.stdout.read(1) == answer
    process.stdin.close()

    assert process.wait() == 0
    assert process.stdout.read() == b""
    process.stdout.close()


@pytest.mark.system
def test_real_process_exits_with_its_parent() -> None:
    script = (
        "import subprocess, sys, os\n"
        "from listener.hear.indicators.chime import chime_command\n"
        "from listener.config import ChimeSettings\n"
        "into, out = os.pipe()\n"
        "command = chime_command(ChimeSettings(on_wake=True))\n"
        "child = subprocess.Popen(command, stdin=into, stdout=1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None

    # The pipe is closed when the last process that holds it exits.
    assert parent.stdout.read() == b""

    parent.wait()
    parent.stdout.close()
