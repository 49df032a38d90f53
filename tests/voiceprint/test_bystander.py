"""Windows of a clip, and the owner's part of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.voiceprint.bystander import (
    HOP_SAMPLES,
    WINDOW_SAMPLES,
    WINDOW_THRESHOLD,
    find_bystander,
    list_windows,
)
from listener.voiceprint.scoring import Embedding, EnrolledVoice

OWN, OTHER = np.eye(2, dtype=np.float32)
VOICE = EnrolledVoice(OWN, 0.5)
LENGTHS = st.integers(0, 12 * SAMPLE_RATE_HZ)


@given(LENGTHS)
def test_windows_cover_the_clip_once_without_holes(length: int) -> None:
    windows = list_windows(length)
    covered = np.zeros(length, np.bool_)
    for first, end in windows:
        assert 0 <= first < end <= length
        assert end - first == min(WINDOW_SAMPLES, length)
        covered[first:end] = True

    assert covered.all()
    assert len(set(windows)) == len(windows)
    starts = np.array([first for first, _ in windows])
    assert ((np.diff(starts) > 0) & (np.diff(starts) <= HOP_SAMPLES)).all()


@given(LENGTHS, st.integers(0, 2**32 - 1))
def test_kept_part_holds_no_window_of_another_voice(length: int, seed: int) -> None:
    windows = list_windows(length)
    kinds = np.random.default_rng(seed).integers(0, 3, len(windows))
    embeddings: list[Embedding | None] = [(OWN, OTHER, None)[kind] for kind in kinds]

    verdict = find_bystander(embeddings, VOICE, length)

    assert 0 <= verdict.first_sample <= verdict.end_sample <= length
    foreign = np.zeros(length, np.bool_)
    for (first, end), kind in zip(windows, kinds, strict=True):
        if kind == 1:
            foreign[first:end] = True
    assert not foreign[verdict.first_sample : verdict.end_sample].any()
    assert verdict.other_s == pytest.approx(foreign.sum() / SAMPLE_RATE_HZ)
    assert verdict.has_bystander == bool((kinds == 1).any())


@given(LENGTHS)
def test_clip_of_the_owner_alone_is_kept_whole(length: int) -> None:
    verdict = find_bystander([OWN] * len(list_windows(length)), VOICE, length)

    assert (verdict.first_sample, verdict.end_sample) == (0, length)
    assert not verdict.has_bystander


def test_clip_of_another_voice_alone_keeps_nothing() -> None:
    length = 3 * SAMPLE_RATE_HZ
    verdict = find_bystander([OTHER] * len(list_windows(length)), VOICE, length)

    assert verdict.first_sample == verdict.end_sample
    assert verdict.other_s == 3


def test_longest_part_is_kept() -> None:
    length = 6 * SAMPLE_RATE_HZ
    windows = list_windows(length)
    spoken = [OTHER if first == SAMPLE_RATE_HZ else OWN for first, _ in windows]

    verdict = find_bystander(spoken, VOICE, length)

    assert (verdict.first_sample, verdict.end_sample) == (2 * SAMPLE_RATE_HZ, length)


def test_window_at_the_threshold_is_the_owners() -> None:
    at = np.array([WINDOW_THRESHOLD, np.sqrt(1 - WINDOW_THRESHOLD**2)], np.float32)
    below = np.array([WINDOW_THRESHOLD - 0.01, 1.0], np.float32)

    assert not find_bystander([at], VOICE, 100).has_bystander
    assert find_bystander([below], VOICE, 100).has_bystander


def test_number_of_embeddings_must_be_that_of_the_windows() -> None:
    with pytest.raises(ValueError, match="zip"):
        find_bystander([OWN], VOICE, 3 * SAMPLE_RATE_HZ)
