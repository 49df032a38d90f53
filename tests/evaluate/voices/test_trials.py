"""Division of speech into enrolment and trials."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from listener.audio.pcm import SAMPLE_RATE_HZ
from listener.evaluate.voices.trials import (
    LEAST_ENROLMENT_SAMPLES,
    LEAST_JUDGED_SAMPLES,
    MOST_TAKES,
    TAKE_SAMPLES,
    cut_trials,
    split_speech,
)


@given(st.lists(st.integers(0, 12 * SAMPLE_RATE_HZ), max_size=12))
def test_no_utterance_both_enrols_and_judges(lengths: list[int]) -> None:
    # Each utterance is of one value, so that its samples tell where they came from.
    utterances = [np.full(length, at + 1, np.int16) for at, length in enumerate(lengths)]

    audio = split_speech("anna", utterances)

    if audio is None:
        return
    enrolled = {int(value) for take in audio.takes for value in np.unique(take)}
    assert not enrolled & set(np.unique(audio.judged).tolist())
    assert 1 <= len(audio.takes) <= MOST_TAKES
    assert all(LEAST_ENROLMENT_SAMPLES <= len(take) <= TAKE_SAMPLES for take in audio.takes)
    assert len(audio.judged) >= LEAST_JUDGED_SAMPLES


def test_speaker_with_little_speech_is_left_out() -> None:
    word = np.ones(SAMPLE_RATE_HZ // 2, np.int16)

    assert split_speech("anna", [word] * 7) is None
    assert split_speech("anna", [word] * 8) is not None
    assert split_speech("anna", [np.ones(10 * SAMPLE_RATE_HZ, np.int16)]) is None
    assert split_speech("anna", []) is None


@given(st.integers(0, 200_000), st.integers(1, 50_000), st.integers(1, 40))
def test_trials_do_not_overlap(total: int, length: int, most: int) -> None:
    judged = np.arange(total, dtype=np.int32)  # each sample tells its place

    pieces = list(cut_trials(judged, length, most))  # type: ignore[arg-type] # wider, so that places differ

    assert len(pieces) == min(total // length, most)
    places = np.concatenate([*pieces, judged[:0]])
    assert all(len(piece) == length for piece in pieces)
    assert len(np.unique(places)) == len(places)
