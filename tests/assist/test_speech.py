"""Sound of a text, by any voice, from any bytes."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.assist import speech
from listener.assist.speech import ProgramVoice, find_program, parse_wav, speak
from listener.errors import Unavailable
from tests.assist.conftest import wav

SOUND = np.arange(8_000, dtype=np.int16)


class BrokenVoice:
    def speak(self, text: str) -> bytes:
        raise Unavailable("broken")


class Mp3Voice:
    def speak(self, text: str) -> bytes:
        return b"ID3" + text.encode()


class GoodVoice:
    def __init__(self) -> None:
        self.spoken = ""

    def speak(self, text: str) -> bytes:
        self.spoken = text
        return wav(SOUND, 22_050)


def test_first_voice_that_works_is_used() -> None:
    good = GoodVoice()

    sound = speak("x" * 1000, [BrokenVoice(), Mp3Voice(), good])

    assert sound is not None
    assert np.array_equal(sound.samples, SOUND)
    assert sound.rate_hz == 22_050
    assert len(good.spoken) == speech.LONGEST_TEXT
    assert speak("x", [BrokenVoice()]) is None


def test_two_channels_are_averaged_and_length_is_bounded() -> None:
    data = bytearray(wav(np.repeat(np.array([100, 300], np.int16)[None], 500_000, 0), 16_000))
    data[22] = 2

    sound = parse_wav(bytes(data))

    assert len(sound.samples) == 30 * 16_000
    assert set(sound.samples.tolist()) == {200}


@pytest.mark.parametrize(
    ("at", "value"),
    [(20, b"\3\0"), (22, b"\6\0"), (24, b"\0\0\0\0"), (24, b"\0\xff\xff\0"), (34, b"\x18\0")],
)
def test_other_formats_are_refused(at: int, value: bytes) -> None:
    data = bytearray(wav(SOUND, 16_000))
    data[at : at + len(value)] = value

    with pytest.raises(ValueError, match=r"not PCM|sample rate"):
        parse_wav(bytes(data))


@given(st.binary(max_size=100), st.integers(0, 60))
def test_any_bytes_are_a_sound_or_a_value_error(more: bytes, cut: int) -> None:
    for data in (more, wav(SOUND[:4], 16_000)[:cut] + more):
        try:
            sound = parse_wav(data)
        except ValueError:
            continue
        assert len(sound.samples) > 0


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt-get install espeak-ng")
def test_program_speaks() -> None:
    sound = parse_wav(ProgramVoice("en").speak("The light is on"))

    assert len(sound.samples) > sound.rate_hz // 2
    assert np.abs(sound.samples).max() > 1_000


def test_missing_program_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)

    with pytest.raises(Unavailable, match="espeak-ng is not installed"):
        find_program("en")


@pytest.mark.parametrize("language", ["xx-unknown", "en"])
def test_program_that_fails_is_unavailable(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shutil.which("false")
    monkeypatch.setattr(shutil, "which", lambda _name: path)

    with pytest.raises(Unavailable, match="failed"):
        ProgramVoice(language).speak("x")
