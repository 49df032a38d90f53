"""The features of microWakeWord are those of the audio front end of TensorFlow Lite Micro."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import Samples
from listener.wakeword.micro_features import FRAME_SAMPLES, STRIDE_SAMPLES, MicroFeatures, Whole
from listener.wakeword.second_opinion import CHUNK_FRAMES, window_features
from models.microwakeword.convert import VECTORS, read_windows
from models.microwakeword.filters import make_filters
from models.microwakeword.record import FEATURE_CLIPS, compute_features

FILTERS = make_filters()
SCALE = 0.0390625


def features(samples: Samples, longest: int = CHUNK_FRAMES) -> Whole:
    return window_features(MicroFeatures(FILTERS, longest), samples)


def test_features_of_the_recorded_stretches_are_the_recorded_ones() -> None:
    recorded = np.load(VECTORS / "features.npy")
    clips = json.loads((VECTORS / "clips.json").read_text("utf-8"))

    made = np.stack([features(window) for window in read_windows()[:FEATURE_CLIPS]])

    assert len(clips) > FEATURE_CLIPS
    assert np.array_equal(made, recorded)
    assert recorded.max() > 400  # in units of 1/25.6: the stretches are not silent


@pytest.mark.parametrize("level", [0, 1, 3, 40, 700, 9_000, 33_000])
def test_features_equal_those_of_the_original_at_every_level(level: int) -> None:
    rng = np.random.default_rng(level)
    wave = rng.normal(0, level or 1e-9, 24_320) + level * np.sin(np.arange(24_320) / 5)
    samples = np.clip(wave, -32_768, 32_767).astype(np.int16)

    original = np.round(compute_features(samples) / SCALE)

    assert np.array_equal(features(samples), original)


@pytest.mark.parametrize("extreme", [-32_768, 32_767])
def test_features_equal_those_of_the_original_at_the_ends_of_the_range(extreme: int) -> None:
    square = np.where(np.arange(16_320) // 40 % 2, extreme, -1 - extreme).astype(np.int16)
    steady = np.full(16_320, extreme, np.int16)

    for samples in (square, steady):
        assert np.array_equal(features(samples), np.round(compute_features(samples) / SCALE))


@pytest.mark.parametrize("level", [0, 3, 200, 9_000])
@pytest.mark.parametrize("sample", [239, 240, 1_000])
def test_a_click_to_the_lowest_sample_gives_the_features_of_the_original(
    level: int, sample: int
) -> None:
    # The lowest sample has no positive counterpart in 16 bits, and counts as no loudness.
    samples = np.random.default_rng(level).normal(0, level or 1e-9, 16_320).astype(np.int16)
    samples[sample] = -32_768

    assert np.array_equal(features(samples), np.round(compute_features(samples) / SCALE))


@pytest.mark.recordings
def test_features_of_real_speech_equal_those_of_the_original(
    recordings: Path, read_folder: Callable[[Path, float], Samples]
) -> None:
    samples = read_folder(recordings / "positive" / "alexa", 20.0)

    assert np.array_equal(features(samples), np.round(compute_features(samples) / SCALE))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 100))
def test_features_do_not_depend_on_the_lengths_of_steps(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = sum(lengths)
    samples = rng.normal(0, 3_000, (frames - 1) * STRIDE_SAMPLES + FRAME_SAMPLES).astype(np.int16)
    front_end = MicroFeatures(FILTERS, max(lengths))

    parts, first = [], 0
    for length in lengths:
        end = (first + length - 1) * STRIDE_SAMPLES + FRAME_SAMPLES
        parts.append(front_end.step(samples[first * STRIDE_SAMPLES : end]))
        first += length

    assert np.array_equal(np.concatenate(parts), features(samples, frames))


def test_restart_overwrites_the_audio_and_the_features() -> None:
    rng = np.random.default_rng(1)
    front_end = MicroFeatures(FILTERS, 10)
    samples = rng.normal(0, 9_000, 9 * STRIDE_SAMPLES + FRAME_SAMPLES).astype(np.int16)
    first = front_end.step(samples)
    assert first.any()

    front_end.restart()

    kept = [value for value in vars(front_end).values() if isinstance(value, np.ndarray)]
    audio = [value for name, value in vars(front_end).items() if name in BUFFERS]
    assert len(kept) > len(audio) == len(BUFFERS)
    assert not any(buffer.any() for buffer in audio)
    assert np.array_equal(front_end.step(samples), first)


BUFFERS = ("_samples", "_waves", "_levels", "_noise", "_kept_noise")
