"""Active speech level, with and without pauses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from listener.evaluate.corpus.speech_level import SpeechLevel, decibels

RATE = 16_000


def tone(seconds: float, rms: float) -> NDArray[np.float64]:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(rms * math.sqrt(2) * np.sin(2 * np.pi * 400 * time_s))


def silence(seconds: float) -> NDArray[np.float64]:
    return np.zeros(round(seconds * RATE))


def measured(*parts: NDArray[np.float64]) -> SpeechLevel:
    level = SpeechLevel()
    for part in parts:
        level.push(part)
    return level


@pytest.mark.parametrize("rms", [30.0, 1_000.0, 10_000.0])
def test_active_level_of_a_steady_tone_is_its_rms(rms: float) -> None:
    level = measured(tone(5, rms))

    assert level.rms == pytest.approx(rms, rel=1e-3)
    assert level.active_rms == pytest.approx(rms, rel=0.03)


def test_pauses_do_not_lower_the_active_level() -> None:
    # Two seconds of speech in twenty: its mean is 10 dB lower, its active level all but the same.
    level = measured(silence(9), tone(2, 2_000), silence(9))

    assert decibels(level.rms) == pytest.approx(decibels(2_000) - 10, abs=0.1)
    # The hangover counts as speech: 200 ms in two seconds are 0.4 dB.
    assert level.active_rms is not None
    assert -1.0 < decibels(level.active_rms) - decibels(2_000) < 0.0


def test_faint_noise_in_pauses_is_not_speech() -> None:
    noise = np.random.default_rng(1).standard_normal(9 * RATE) * 20

    level = measured(noise, tone(2, 2_000), noise)

    assert level.active_rms is not None
    assert -1.0 < decibels(level.active_rms) - decibels(2_000) < 0.0


def test_silence_has_no_speech() -> None:
    assert measured(silence(3)).active_rms is None
    assert SpeechLevel().active_rms is None
    assert SpeechLevel().rms == 0.0


def test_doubled_amplitude_is_6_db_more() -> None:
    speech = np.concatenate([silence(1), tone(1, 500), silence(1)])

    once, twice = measured(speech).active_rms, measured(2 * speech).active_rms

    assert once is not None
    assert twice is not None
    assert decibels(twice) - decibels(once) == pytest.approx(20 * math.log10(2), abs=0.3)


@pytest.mark.parametrize("offset", [-6_554.0, 300.0, 16_000.0])
def test_direct_offset_is_not_speech(offset: float) -> None:
    speech = np.concatenate([silence(2), tone(1, 800), silence(2)])

    shifted, plain = measured(speech + offset), measured(speech)

    assert shifted.active_rms == pytest.approx(plain.active_rms, rel=1e-3)
    assert shifted.rms == pytest.approx(plain.rms, rel=1e-3)
    assert measured(silence(3) + offset).active_rms is None


def test_full_scale_is_0_dbov() -> None:
    assert decibels(32_768.0) == 0.0


@given(st.lists(st.integers(0, 30_000), max_size=6))
def test_level_does_not_depend_on_block_sizes(cuts: list[int]) -> None:
    sound = np.concatenate([silence(0.5), tone(0.7, 900), silence(0.8)])

    pieces = measured(*np.split(sound, sorted(cuts)))

    whole = measured(sound)
    assert pieces.rms == pytest.approx(whole.rms)
    assert pieces.active_rms == pytest.approx(whole.active_rms)
