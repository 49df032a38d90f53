from typing import Any

import numpy as np
import pytest

from listener.config import PlayerSettings
from listener.errors import Unavailable
from listener.train import audition
from listener.train.audition import play_samples, speak_samples
from listener.train.phrase import parse_phrase
from tests.train.fake_voices import ToneEngine

PHRASE = parse_phrase("hey lumen", "hey loo men")


def test_natural_voices_speak_first_and_say_the_other_spelling() -> None:
    engines = [ToneEngine("espeak-ng"), ToneEngine("kokoro"), ToneEngine("flite")]

    samples = speak_samples(PHRASE, engines, 1)

    assert [sample.engine for sample in samples] == ["kokoro", "flite", "espeak-ng"]
    assert engines[1].texts == ["hey loo men"]


def test_one_engine_gives_three_different_samples() -> None:
    samples = speak_samples(PHRASE, [ToneEngine()], 1)

    assert len({sample.samples.tobytes() for sample in samples}) == 3


def test_silent_engine_is_an_error() -> None:
    with pytest.raises(Unavailable, match="tone does not say 'hey loo men'"):
        speak_samples(PHRASE, [ToneEngine(length_s=0.0)], 1)


class FakePortAudio:
    class PortAudioError(Exception):
        pass

    def __init__(self, *, works: bool) -> None:
        self._works = works
        self.played = b""

    def RawOutputStream(self, **options: Any) -> "FakeStream":  # noqa: ANN401, N802 - of sounddevice
        if not self._works:
            raise self.PortAudioError
        assert options["samplerate"] == 16_000
        return FakeStream(self)


class FakeStream:
    samplerate = 16_000.0
    latency = 0.06

    def __init__(self, owner: FakePortAudio) -> None:
        self._owner = owner

    def start(self) -> None:
        pass

    abort = close = start

    def write(self, data: bytes) -> None:
        self._owner.played += data


def test_samples_are_played_in_order_at_half_level(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakePortAudio(works=True)
    monkeypatch.setattr(audition, "load_portaudio", lambda: fake)
    samples = speak_samples(PHRASE, [ToneEngine()], 1)
    announced = []

    play_samples(samples, PlayerSettings(), lambda sample: announced.append(sample.samples))

    played = np.frombuffer(fake.played, np.int16)
    assert [len(each) for each in announced] == [len(sample.samples) for sample in samples]
    assert len(played) > sum(len(sample.samples) for sample in samples)
    assert np.abs(played.astype(int)).max() == 16_000


def test_missing_loudspeaker_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audition, "load_portaudio", lambda: FakePortAudio(works=False))

    with pytest.raises(Unavailable, match="the samples cannot be played") as caught:
        play_samples(speak_samples(PHRASE, [ToneEngine()], 1), PlayerSettings(), lambda _: None)
    assert "earmark voices say PHRASE --to DIR" in caught.value.hint
