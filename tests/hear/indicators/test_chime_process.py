"""The chime's process: the real one with the real PortAudio, on ALSA's card that is not there."""

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
def test_the_tone_is_short_bounded_and_begins_and_ends_in_silence(
    rate_hz: int, volume: float
) -> None:
    samples = array.array("h", synthesize_chime(rate_hz, volume))

    assert len(samples) == 2 * round(0.09 * rate_hz)
    assert samples[0] == 0
    assert abs(samples[-1]) < 0.02 * 32_767 + 1
    assert max(map(abs, samples)) <= volume * 32_767 + 1
    assert max(map(abs, samples)) > 0.9 * volume * 32_767 - 1


class FakeSound:
    """A sounddevice whose loudspeaker takes one rate, or none."""

    class PortAudioError(Exception):
        pass

    def __init__(self, rate_hz: int | None) -> None:
        self.rate_hz = rate_hz
        self.asked: list[dict[str, Any]] = []
        self.heard = b""
        self.stopped = self.closed = 0

    def RawOutputStream(self, **how: Any) -> "FakeSound":  # noqa: ANN401, N802 - sounddevice's
        self.asked.append(how)
        if how["samplerate"] != self.rate_hz:
            raise self.PortAudioError
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def write(self, data: bytes) -> None:
        self.heard += data

    def stop(self) -> None:
        self.stopped += 1


def test_the_loudspeaker_is_held_only_as_long_as_it_sounds() -> None:
    sound = FakeSound(44_100)

    assert play_chime(sound, "", 0.5)

    assert sound.heard == synthesize_chime(44_100, 0.5)
    assert (sound.stopped, sound.closed) == (1, 1)
    assert [how["device"] for how in sound.asked] == [None, None]


@pytest.mark.parametrize(("named", "device"), [("3", 3), ("USB", "USB"), ("", None)])
def test_a_loudspeaker_is_named_as_a_microphone_is(named: str, device: object) -> None:
    sound = FakeSound(None)

    assert not play_chime(sound, named, 0.5)

    assert {how["device"] for how in sound.asked} == {device}
    assert len(sound.asked) == len(RATES_HZ)


@pytest.mark.system
@pytest.mark.parametrize(("card", "said"), [(CARD, PLAYED), (NO_CARD, FAILED)])
def test_the_real_process_plays_when_told_and_ends_with_its_input(
    tmp_path: Path, card: str, said: bytes
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
        assert process.stdout.read(1) == said
    process.stdin.close()

    assert process.wait() == 0
    assert process.stdout.read() == b""
    process.stdout.close()


@pytest.mark.system
def test_the_real_process_ends_with_its_parent() -> None:
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

    # The pipe ends when the last process that holds it does.
    assert parent.stdout.read() == b""

    parent.wait()
    parent.stdout.close()
