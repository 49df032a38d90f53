"""Division of speech into enrolment and trials."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.voices.trials import LEAST_JUDGED_SAMPLES, cut_trials, split_speech
from listener.voiceprint.enrolment import FEWEST_SENTENCES, SENTENCES
from listener.voiceprint.speech import MAX_SPEECH_SAMPLES, MIN_SPEECH_SAMPLES


@given(st.lists(st.integers(0, 12 * SAMPLE_RATE_HZ), max_size=12))
def test_no_utterance_both_enrols_and_judges(lengths: list[int]) -> None:
    # Each utterance is of one value, so that its samples tell where they came from.
    utterances = [np.full(length, at + 1, np.int16) for at, length in enumerate(lengths)]

    audio = split_speech("anna", utterances)

    if audio is None:
        return
    enrolled = {int(value) for take in audio.takes for value in np.unique(take)}
    assert not enrolled & set(np.unique(audio.judged).tolist())
    assert len(audio.judged) >= LEAST_JUDGED_SAMPLES
    assert audio.is_owner == bool(audio.takes)
    if audio.is_owner:
        assert FEWEST_SENTENCES <= len(audio.takes) <= SENTENCES
    assert all(MIN_SPEECH_SAMPLES <= len(take) <= MAX_SPEECH_SAMPLES for take in audio.takes)


@pytest.mark.parametrize(
    ("seconds", "takes"), [(4.5, []), (9.0, []), (9.5, [1.5] * 5), (24.0, [2.4] * 5)]
)
def test_speaker_with_too_little_speech_to_enrol_is_a_guest(
    seconds: float, takes: list[float]
) -> None:
    word = np.ones(SAMPLE_RATE_HZ // 2, np.int16)

    audio = split_speech("anna", [word] * round(2 * seconds))

    assert audio is not None
    assert [len(take) / SAMPLE_RATE_HZ for take in audio.takes] == takes
    assert len(audio.judged) / SAMPLE_RATE_HZ == seconds - sum(takes)


def test_speaker_with_too_little_speech_to_judge_is_left_out() -> None:
    word = np.ones(SAMPLE_RATE_HZ // 2, np.int16)

    assert split_speech("anna", [word] * 3) is None
    assert split_speech("anna", []) is None


def test_long_recordings_enrol_with_as_many_pieces_as_the_device_asks_for() -> None:
    audio = split_speech("anna", [np.ones(10 * SAMPLE_RATE_HZ, np.int16)] * 12)

    assert audio is not None
    assert [len(take) for take in audio.takes] == [MAX_SPEECH_SAMPLES] * SENTENCES


@given(st.integers(0, 200_000), st.integers(1, 50_000), st.integers(1, 40))
def test_trials_do_not_overlap(total: int, length: int, most: int) -> None:
    judged = np.arange(total, dtype=np.int32)  # each sample tells its place

    pieces = list(cut_trials(judged, length, most))  # type: ignore[arg-type] # wider, so that places differ

    assert len(pieces) == min(total // length, most)
    places = np.concatenate([*pieces, judged[:0]])
    assert all(len(piece) == length for piece in pieces)
    assert len(np.unique(places)) == len(places)
