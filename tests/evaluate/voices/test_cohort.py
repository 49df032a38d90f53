"""The cohort of background voices: how it is made, and the file that is shipped."""

import io

import numpy as np
import pytest

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import UsageError
from listener.evaluate.voices.embedder import CachedEncoder
from listener.inference.voice_cohort import load_cohort
from listener.voiceprint.scoring import Embedding
from models.campplus.cohort import encode_cohort, make_cohort


class Mean:
    """An encoder: the mean of the samples as a direction."""

    model_sha256 = "00" * 32

    def embed(self, samples: Samples) -> Embedding:
        assert len(samples) <= 3 * SAMPLE_RATE_HZ
        angle = float(samples.mean()) / 100
        return np.array([np.cos(angle), np.sin(angle)], np.float32)


def spoken(level: int, seconds: float) -> Samples:
    return np.full(round(seconds * SAMPLE_RATE_HZ), level, np.int16)


def test_voice_is_the_centroid_of_all_speech_of_a_speaker() -> None:
    speech = {"b": [spoken(10, 3.0), spoken(30, 3.0)], "a": [spoken(50, 1.0), spoken(50, 1.0)]}

    cohort = make_cohort(speech, CachedEncoder(Mean(), None))

    assert cohort.dtype == np.float32
    angles = sorted(float(angle) for angle in np.arctan2(cohort[:, 1], cohort[:, 0]))
    assert angles == pytest.approx([0.2, 0.5], abs=1e-3)


def test_rows_do_not_tell_the_order_of_the_names() -> None:
    speech = {"a": [spoken(10, 2.0)], "b": [spoken(50, 2.0)]}
    encoder = CachedEncoder(Mean(), None)

    swapped = make_cohort({"a": speech["b"], "b": speech["a"]}, encoder)

    assert np.array_equal(make_cohort(speech, encoder), swapped)


def test_speakers_with_little_speech_are_left_out() -> None:
    encoder = CachedEncoder(Mean(), None)

    assert len(make_cohort({"a": [spoken(1, 2.0)], "b": [spoken(2, 1.4)]}, encoder)) == 1
    with pytest.raises(UsageError, match="enough speech"):
        make_cohort({"b": [spoken(2, 1.4)]}, encoder)


def test_file_holds_the_same_numbers() -> None:
    cohort = make_cohort({"a": [spoken(1, 2.0)]}, CachedEncoder(Mean(), None))

    read = np.load(io.BytesIO(encode_cohort(cohort)), allow_pickle=False)

    assert np.array_equal(read, cohort)


def test_shipped_cohort_is_of_46_voices_that_differ() -> None:
    cohort = load_cohort()

    assert cohort.shape == (46, 192)
    assert np.linalg.norm(cohort, axis=1) == pytest.approx(1, abs=1e-5)
    similarities = cohort @ cohort.T - np.eye(len(cohort))
    # Two rows of one person would be about as similar as an owner's recordings: 0.7.
    assert similarities.max() < 0.6
