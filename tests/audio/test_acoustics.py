import numpy as np
import pytest

from listener.audio.acoustics import (
    convolve_response,
    make_coloured_noise,
    make_room_response,
    root_mean_square,
)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_power_falls_with_the_exponent(exponent: float) -> None:
    noise = make_coloured_noise(1 << 16, np.random.default_rng(1), exponent)
    power = np.abs(np.fft.rfft(noise)) ** 2
    octave = 1 << 11  # 500 Hz
    lower = power[octave : 2 * octave].mean()
    higher = power[4 * octave : 8 * octave].mean()

    assert root_mean_square(noise) == pytest.approx(1.0)
    assert 10 * np.log10(lower / higher) == pytest.approx(2 * 3.01 * exponent, abs=0.7)


def test_room_has_its_decay_and_its_direct_sound() -> None:
    response = make_room_response(np.random.default_rng(1), 0.5, 3.0)
    tail = response.copy()
    tail[0] -= 1.0

    assert len(response) == 8_000
    assert 10 * np.log10(np.square(tail).sum()) == pytest.approx(-3.0)
    early, late = np.square(tail[:800]).mean(), np.square(tail[-800:]).mean()
    assert 10 * np.log10(early / late) == pytest.approx(54, abs=3)


def test_convolution_equals_the_direct_sum() -> None:
    random = np.random.default_rng(2)
    sound, response = random.normal(size=1_000), random.normal(size=300)

    made = convolve_response(sound, response)

    np.testing.assert_allclose(made, np.convolve(sound, response)[:1_000], atol=1e-10)
