import numpy as np
import pytest

from listener.train.voices.synthesis import (
    MARGIN_SAMPLES,
    PEAK,
    derive_generator,
    synthesize,
    trim_speech,
)
from tests.train.fake_voices import ToneEngine


def test_silence_around_speech_is_cut_except_for_a_margin() -> None:
    sound = np.zeros(48_000, np.int16)
    sound[16_000:32_000] = 1000

    speech = trim_speech(sound, "v")

    assert speech is not None
    assert len(speech.samples) == 16_000 + 2 * MARGIN_SAMPLES
    assert speech.end == 16_000 + MARGIN_SAMPLES
    assert np.abs(speech.samples.astype(int)).max() == PEAK


@pytest.mark.parametrize("length", [0, 1, 100, 2_700])
def test_too_little_speech_is_none(length: int) -> None:
    sound = np.zeros(16_000, np.int16)
    sound[:length] = 500

    assert trim_speech(sound, "v") is None
    assert trim_speech(sound[:length], "v") is None


def test_speech_to_the_edges_is_kept_whole() -> None:
    sound = np.full(8_000, -32_768, np.int16)

    speech = trim_speech(sound, "v")

    assert speech is not None
    assert (len(speech.samples), speech.end) == (8_000, 8_000)
    assert speech.samples.min() == -PEAK


def test_same_generator_gives_the_same_speech() -> None:
    engine = ToneEngine()
    first, second, other = (
        synthesize("a", engine, derive_generator(1, "clip", number)) for number in (1, 1, 2)
    )

    assert first is not None
    assert second is not None
    assert other is not None
    assert first.voice == second.voice
    assert np.array_equal(first.samples, second.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_purposes_have_generators_of_their_own() -> None:
    draws = {
        derive_generator(seed, *names).random()
        for seed, names in [
            (1, ("a", 1)),
            (1, ("a1",)),
            (1, ("a", "1", 1)),
            (2, ("a", 1)),
            (1, ()),
        ]
    }

    assert len(draws) == 5
