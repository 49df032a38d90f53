"""Copies of speech with noise and in a room."""

import numpy as np
import pytest

from listener.audio.pcm import Samples
from listener.voiceprint.simulated_conditions import SIGNAL_TO_NOISE_DB, simulate_conditions


def tone(amplitude: float = 4_000.0) -> Samples:
    made: Samples = np.rint(amplitude * np.sin(np.arange(32_000) * 0.2)).astype(np.int16)
    return made


def rms(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples.astype(float)).mean()))


def test_copies_keep_the_length_and_the_level() -> None:
    room, noisy, both = simulate_conditions(tone(), seed=1)

    assert {copy.shape for copy in (room, noisy, both)} == {(32_000,)}
    assert {copy.dtype for copy in (room, noisy, both)} == {np.dtype(np.int16)}
    assert rms(room) == pytest.approx(rms(tone()), rel=0.01)
    assert rms(noisy) == pytest.approx(rms(tone()) * np.sqrt(1.1), rel=0.02)


def test_noise_lies_ten_decibels_below_the_speech() -> None:
    _, noisy, _ = simulate_conditions(tone(), seed=1)
    noise = noisy.astype(float) - tone()

    assert 20 * np.log10(rms(tone()) / np.sqrt(np.square(noise).mean())) == pytest.approx(
        SIGNAL_TO_NOISE_DB, abs=0.1
    )


def test_noise_falls_by_three_decibels_an_octave() -> None:
    _, noisy, _ = simulate_conditions(tone(), seed=3)
    power = np.square(np.abs(np.fft.rfft(noisy.astype(float) - tone())))
    hz = np.fft.rfftfreq(32_000, 1 / 16_000)
    octaves = [10 * np.log10(power[(hz >= f) & (hz < 2 * f)].mean()) for f in (250, 1_000, 4_000)]

    assert np.diff(octaves).tolist() == pytest.approx([-6, -6], abs=1)


def test_room_adds_a_decaying_tail() -> None:
    click = np.zeros(16_000, np.int16)
    click[100] = 20_000
    room, _, _ = simulate_conditions(click, seed=1)
    tail = room.astype(float)

    assert int(np.abs(tail).argmax()) == 100
    assert not tail[:100].any()
    assert rms(room[200:2_200]) > 3 * rms(room[4_000:6_000]) > 0


def test_same_seed_gives_the_same_copies() -> None:
    first, again, other = (simulate_conditions(tone(), seed) for seed in (5, 5, 6))

    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_loud_speech_is_made_quieter_and_not_clipped() -> None:
    loud = np.where(np.arange(16_000) % 2, 32_767, -32_768).astype(np.int16)

    for copy in simulate_conditions(loud, seed=1):
        assert np.count_nonzero(np.abs(copy.astype(int)) >= 32_767) <= 1


def test_silence_stays_silent() -> None:
    for copy in simulate_conditions(np.zeros(1_000, np.int16), seed=1):
        assert not copy.any()
