"""Features equal Kaldi's own, which `models/campplus/record.py` recorded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import Samples
from listener.voiceprint.filterbank import BANDS, compute_filterbank
from models.campplus.convert import VECTORS, read_clips
from models.campplus.record import FEATURE_CLIPS


def noise(count: int, level: float = 1000) -> Samples:
    return np.rint(np.random.default_rng(1).standard_normal(count) * level).astype(np.int16)


def test_features_of_speech_and_noise_equal_those_of_kaldi() -> None:
    clips = read_clips()[:FEATURE_CLIPS]

    made = np.concatenate([compute_filterbank(clip) for clip in clips])

    recorded = np.load(VECTORS / "filterbank.npy")
    assert made.dtype == np.float32
    assert made.shape == recorded.shape
    # The recorded values have a range of 20; near the smallest power Kaldi's own rounding shows.
    assert np.abs(made - recorded).max() < 1e-3
    assert np.abs(made - recorded).mean() < 1e-5


@pytest.mark.parametrize(("count", "rows"), [(400, 1), (559, 1), (560, 2), (32_000, 198)])
def test_a_row_for_each_whole_window(count: int, rows: int) -> None:
    assert compute_filterbank(noise(count)).shape == (rows, BANDS)


@pytest.mark.parametrize("count", [0, 1, 399])
def test_fewer_samples_than_a_window_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} samples, fewer than one window of 400"):
        compute_filterbank(noise(count))


def test_digital_silence_has_features_of_zero() -> None:
    assert np.abs(compute_filterbank(np.zeros(16_000, np.int16))).max() < 1e-5


def test_loudness_does_not_change_features() -> None:
    samples = noise(8_000)

    quiet, loud = compute_filterbank(samples), compute_filterbank(samples * np.int16(4))

    assert np.abs(quiet - loud).max() < 1e-4


def test_samples_are_not_changed() -> None:
    samples = noise(4_000)
    samples.flags.writeable = False

    compute_filterbank(samples)

    assert np.array_equal(samples, noise(4_000))


@given(st.integers(400, 5_000), st.integers(0, 2**32 - 1))
def test_bands_have_a_mean_of_zero_and_are_finite(count: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-32_768, 32_768, count).astype(np.int16)

    features = compute_filterbank(samples)

    assert np.isfinite(features).all()
    assert np.abs(features.mean(axis=0)).max() < 1e-4
