"""Clips with a second voice."""

import numpy as np
import pytest

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.voices.second_voice import (
    CLIP_SAMPLES,
    OTHER_SAMPLES,
    JudgedClip,
    SecondVoice,
    compose_clips,
    measure_second_voice,
)
from listener.voiceprint.bystander import BystanderVerdict

WHOLE = BystanderVerdict(0, CLIP_SAMPLES, 0.0)


def test_second_voice_is_as_loud_as_the_owner() -> None:
    random = np.random.default_rng(1)
    own = random.integers(-1000, 1000, CLIP_SAMPLES, dtype=np.int16)
    other = random.integers(-9000, 9000, OTHER_SAMPLES, dtype=np.int16)

    clips = dict(compose_clips(own, other))

    assert np.array_equal(clips[SecondVoice.NONE], own)
    start = CLIP_SAMPLES - OTHER_SAMPLES
    for kind in (SecondVoice.AFTER, SecondVoice.OVER):
        assert len(clips[kind]) == CLIP_SAMPLES
        assert np.array_equal(clips[kind][:start], own[:start])
    after = clips[SecondVoice.AFTER][start:].astype(float)
    assert after.std() == pytest.approx(own[:start].astype(float).std(), rel=0.01)
    over = clips[SecondVoice.OVER][start:].astype(float)
    assert over == pytest.approx(after + own[start:], abs=1)


def test_silent_second_voice_and_full_scale_stay_in_range() -> None:
    own = np.full(CLIP_SAMPLES, 32_767, np.int16)

    silent = dict(compose_clips(own, np.zeros(OTHER_SAMPLES, np.int16)))
    loud = dict(compose_clips(own, np.full(OTHER_SAMPLES, 32_767, np.int16)))

    assert not silent[SecondVoice.AFTER][-OTHER_SAMPLES:].any()
    assert loud[SecondVoice.OVER].max() == 32_767


def test_outcomes_are_counted_by_kind() -> None:
    found = BystanderVerdict(0, CLIP_SAMPLES - OTHER_SAMPLES // 2, 1.0)
    clips = [
        JudgedClip(0, SecondVoice.AFTER, found),
        JudgedClip(0, SecondVoice.AFTER, WHOLE),
        JudgedClip(1, SecondVoice.AFTER, BystanderVerdict(0, SAMPLE_RATE_HZ, 2.0)),
        JudgedClip(0, SecondVoice.OVER, WHOLE),
        JudgedClip(0, SecondVoice.NONE, WHOLE),
        JudgedClip(1, SecondVoice.NONE, BystanderVerdict(0, CLIP_SAMPLES // 2, 1.0)),
    ]

    rates = measure_second_voice(clips, SecondVoice.AFTER, 2, 1)

    assert (rates.dropped.count, rates.dropped.exposure) == (2, 3)
    assert (rates.own_dropped.count, rates.own_dropped.exposure) == (1, 2)
    # Half a second of the first clip, a second of the second, nothing of the third.
    assert (rates.left_s.count, rates.left_s.exposure) == (1.5, 3)
    assert (rates.own_cut_s.count, rates.own_cut_s.exposure) == (2, 8)
