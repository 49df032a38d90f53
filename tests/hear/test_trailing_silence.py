"""Trailing silence by level: exact in quiet, and never too long in noise."""

import numpy as np
import pytest

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.hear.trailing_silence import BLOCK_SAMPLES, TrailingSilence


def noise(seconds: float, rms: float, seed: int = 1) -> Samples:
    count = round(seconds * SAMPLE_RATE_HZ) // BLOCK_SAMPLES * BLOCK_SAMPLES
    return np.rint(np.random.default_rng(seed).normal(0, rms, count)).astype(np.int16)


def measure_s(*stretches: Samples) -> float:
    silence = TrailingSilence()
    for stretch in stretches:
        for first in range(0, len(stretch), FRAME_SAMPLES):
            silence.push(stretch[first : first + FRAME_SAMPLES])
    return silence.measure_samples() / SAMPLE_RATE_HZ


def test_silence_in_a_quiet_room_is_measured_in_steps_of_20_ms() -> None:
    assert measure_s(noise(1.2, 3000), noise(0.44, 10)) == pytest.approx(0.44)


def test_begin_of_a_fricative_ends_the_silence() -> None:
    """An "f" of 40 dB below the speech is 20 dB above the room."""
    speech, pause, sound = noise(1.2, 3000), noise(0.44, 10), noise(0.02, 150)

    assert measure_s(speech, pause, sound) == 0
    assert measure_s(speech, noise(0.2, 10), sound, noise(0.44, 10)) == pytest.approx(0.44)


def test_without_speech_or_enough_sound_there_is_no_silence() -> None:
    assert measure_s() == 0
    assert measure_s(noise(0.28, 10)) == 0
    assert measure_s(noise(2.0, 10)) == 0


def test_digital_silence_is_silence() -> None:
    assert measure_s(noise(1.2, 3000), np.zeros(6400, np.int16)) == pytest.approx(0.4)


@pytest.mark.parametrize("seed", range(5))
def test_steady_noise_is_silence_only_where_speech_stands_out(seed: int) -> None:
    speech = noise(1.2, 3000, seed)
    pause = noise(0.4, 300, seed + 10)

    assert measure_s(speech, pause) == pytest.approx(0.4)
    assert measure_s(speech, noise(0.4, 2000, seed + 10)) == 0
