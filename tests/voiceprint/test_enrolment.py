"""Enrolment: which recordings are used, and what the voiceprint of several is."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from listener.audio.pcm import Samples
from listener.voiceprint.enrolment import (
    FEWEST_SENTENCES,
    EnrolmentRefused,
    EnrolmentSentence,
    RecordingProblem,
    assess_recording,
    check_other_person,
    complete_enrolment,
    detect_speech,
    embed_sentence,
    find_other_voices,
    is_same_voice,
    split_speech,
)
from listener.voiceprint.scoring import make_centroid

Vector = NDArray[np.float32]
RANDOM = np.random.default_rng


def voice(number: int) -> Vector:
    """A voice: orthogonal to the others."""
    made: Vector = np.eye(192, dtype=np.float32)[number]
    return made


def said(who: Vector, seed: int, spread: float = 0.3) -> Vector:
    made = who + RANDOM(seed).normal(size=192) * spread / np.sqrt(192)
    unit: Vector = (made / np.linalg.norm(made)).astype(np.float32)
    return unit


def sentence(who: Vector, seed: int, spread: float = 0.3) -> EnrolmentSentence:
    copies = np.stack([said(who, 10 * seed + number, spread) for number in range(4)])
    return EnrolmentSentence(copies, 2.5)


def cohort(count: int = 40) -> Vector:
    made = RANDOM(0).normal(size=(count, 192))
    unit: Vector = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return unit


def sound(speech_s: float, amplitude: float = 3_000.0, noise: float = 3.0) -> Samples:
    """A second of noise around a tone in the same noise."""
    made = RANDOM(2).normal(size=round((speech_s + 2) * 16_000)) * noise
    spoken = slice(16_000, 16_000 + round(speech_s * 16_000))
    made[spoken] += amplitude * np.sin(np.arange(spoken.stop - spoken.start) * 0.2)
    return np.clip(np.rint(made), -32_768, 32_767).astype(np.int16)


class LevelModel:
    """A voice activity detector that takes what is loud for speech."""

    def __init__(self) -> None:
        self.resets = 0

    def probability(self, samples: Samples) -> float:
        return float(np.abs(samples).max() > 500)

    def reset(self) -> None:
        self.resets += 1


def test_speech_is_found_and_the_detector_is_left_without_audio() -> None:
    model = LevelModel()
    speech = detect_speech(sound(2.0), model)

    assert len(speech) / 16_000 == pytest.approx(2.2, abs=0.15)
    assert model.resets == 2


@pytest.mark.parametrize(
    ("recording", "problem"),
    [
        (lambda: sound(2.0), None),
        (lambda: sound(1.0), RecordingProblem.SHORT),
        (lambda: sound(0.0), RecordingProblem.SHORT),
        (lambda: sound(2.0, amplitude=60_000), RecordingProblem.CLIPPED),
        (lambda: sound(2.0, amplitude=3_000, noise=1_000), RecordingProblem.NOISY),
    ],
)
def test_recordings_are_assessed(
    recording: Callable[[], Samples], problem: RecordingProblem | None
) -> None:
    whole = recording()
    levels = assess_recording(whole, whole[16_000 : len(whole) - 16_000])

    assert levels.problem == problem


def test_faint_speech_is_refused() -> None:
    whole = sound(2.0, amplitude=30, noise=0.5)

    levels = assess_recording(whole, whole[16_000:-16_000])

    assert levels.problem is RecordingProblem.QUIET
    assert levels.level_dbfs == pytest.approx(20 * np.log10(30 / np.sqrt(2) / 32_768), abs=0.5)


def test_empty_recording_is_too_short() -> None:
    nothing = np.zeros(0, np.int16)

    assert assess_recording(nothing, nothing).problem is RecordingProblem.SHORT


def test_sentence_is_embedded_as_it_is_and_in_three_conditions() -> None:
    seen: list[Samples] = []

    def embed(samples: Samples) -> Vector:
        seen.append(samples.copy())
        return voice(0)

    made = embed_sentence(sound(3.0)[16_000:-16_000], embed, seed=1)

    assert made.embeddings.shape == (4, 192)
    assert made.speech_s == 3.0
    assert np.array_equal(seen[0], sound(3.0)[16_000:-16_000])
    assert len({samples.tobytes() for samples in seen}) == 4


def test_long_speech_is_cut_into_sentences() -> None:
    speech = np.arange(16_000 * 7, dtype=np.int32).astype(np.int16)

    assert [len(part) for part in split_speech(speech)] == [48_000, 48_000]
    assert [len(part) for part in split_speech(speech[: 16_000 * 5])] == [48_000, 32_000]
    assert split_speech(speech[:20_000]) == ()


def test_another_voice_is_found_among_the_recordings() -> None:
    recordings = [said(voice(0), seed) for seed in range(4)]

    assert find_other_voices(recordings) == ()
    assert find_other_voices([*recordings, said(voice(1), 9)]) == (4,)
    assert find_other_voices([said(voice(1), 9), *recordings]) == (0,)
    assert find_other_voices(recordings[:1]) == ()
    assert find_other_voices([voice(0), voice(1)]) == (0, 1)


def test_recording_is_compared_with_those_before_it() -> None:
    before = [said(voice(0), seed) for seed in range(3)]

    assert is_same_voice(said(voice(0), 5), before)
    assert not is_same_voice(said(voice(1), 5), before)
    assert is_same_voice(voice(1), [])


def test_voiceprint_is_the_mean_of_every_embedding() -> None:
    sentences = [sentence(voice(0), seed) for seed in range(FEWEST_SENTENCES)]

    made = complete_enrolment(sentences, cohort(), {}, least=0.5)

    np.testing.assert_allclose(
        made.centroid, make_centroid(np.concatenate([one.embeddings for one in sentences]))
    )
    assert 0.5 <= made.calibration.threshold < 0.7
    assert (made.sentences, made.speech_s) == (5, 12.5)
    assert made.refused.count == 0
    assert 0 < made.refused.high < 0.5
    assert (made.calibration.wrong.count, made.calibration.wrong.trials) == (0, 40)


def test_refused_share_counts_recordings_and_not_their_copies() -> None:
    sentences = [sentence(voice(0), seed) for seed in range(9)]
    far = np.concatenate([sentences[0].embeddings[:2], np.stack([voice(7), voice(7)])])

    made = complete_enrolment([*sentences, EnrolmentSentence(far, 2.0)], cohort(), {}, least=0.5)

    assert made.refused.trials == 10
    assert made.refused.value == pytest.approx(0.05)
    assert made.refused.low < 0.05 < made.refused.high


def test_threshold_rises_above_a_similar_voice() -> None:
    sentences = [sentence(voice(0), seed, spread=0.1) for seed in range(5)]
    near = (0.68 * voice(0) + 0.7332 * voice(1)).astype(np.float32)

    alone = complete_enrolment(sentences, cohort(), {}, least=0.5)
    by_cohort = complete_enrolment(sentences, np.concatenate([cohort(), near[None]]), {}, least=0.5)
    by_owner = complete_enrolment(sentences, cohort(), {"bob": near}, least=0.5)

    assert alone.calibration.threshold < 0.65
    assert by_cohort.calibration.threshold == pytest.approx(0.68, abs=0.02)
    assert by_owner.calibration.threshold == pytest.approx(0.68, abs=0.02)


def test_too_few_recordings_are_refused() -> None:
    sentences = [sentence(voice(0), seed) for seed in range(FEWEST_SENTENCES - 1)]

    with pytest.raises(EnrolmentRefused, match="needs 5 recordings"):
        complete_enrolment(sentences, cohort(), {}, least=0.5)


def test_voice_of_another_owner_is_refused_by_name() -> None:
    sentences = [sentence(voice(0), seed) for seed in range(5)]

    with pytest.raises(EnrolmentRefused, match="this is the voice of bob"):
        complete_enrolment(sentences, cohort(), {"eve": voice(1), "bob": voice(0)}, least=0.5)
    check_other_person(voice(0), {"eve": voice(1)})


def test_voice_that_most_recordings_would_miss_is_refused() -> None:
    sentences = [sentence(voice(0), seed, spread=3.0) for seed in range(5)]

    with pytest.raises(EnrolmentRefused, match="100 % of these recordings would be refused"):
        complete_enrolment(sentences, cohort(), {}, least=0.9)
