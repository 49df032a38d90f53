"""Trials of speakers: speech that enrols a voice, and other speech of them that is judged. Pure.

The utterances of a speaker are taken in the order of their names, so that a voice is enrolled with
the words or chapters of the first ones and judged on those of the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

TAKE_SAMPLES: Final = 3 * SAMPLE_RATE_HZ
"""Length of a piece of enrolment speech: about that of a short sentence."""
MOST_TAKES: Final = 10
"""Pieces that enrol a voice, as many as ``earmark owner enrol`` asks sentences for."""
LEAST_ENROLMENT_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
"""Least speech that enrols a voice."""
LEAST_JUDGED_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
"""Least speech of an enrolled voice that is judged."""
MOST_TRIALS: Final = 30
"""Trials of a speaker of one length under one condition."""


@dataclass(frozen=True, slots=True)
class SpeakerAudio:
    """The speech of one speaker, without silence."""

    speaker: str
    takes: tuple[Samples, ...]
    """Pieces that enrol the voice, int16, at most `TAKE_SAMPLES` each."""
    judged: Samples
    """Speech of other utterances, joined; int16."""


def split_speech(speaker: str, utterances: Sequence[Samples]) -> SpeakerAudio | None:
    """Return the speech that enrols a voice and the speech that is judged.

    At most half of the speech enrols.

    Args:
        speaker: name of the speaker.
        utterances: their speech, int16, at 16 kHz, by name.

    Returns:
        None if one of the two would be too short.
    """
    total = sum(map(len, utterances))
    wanted = min(MOST_TAKES * TAKE_SAMPLES, total // 2)
    count = have = 0
    while count < len(utterances) and have + len(utterances[count]) <= wanted:
        have += len(utterances[count])
        count += 1
    if count < len(utterances) and have < LEAST_ENROLMENT_SAMPLES:
        have += len(utterances[count])
        count += 1
    judged = total - have
    if have < LEAST_ENROLMENT_SAMPLES or judged < LEAST_JUDGED_SAMPLES:
        return None
    enrolment = np.concatenate(utterances[:count])[: MOST_TAKES * TAKE_SAMPLES]
    takes = tuple(
        enrolment[first : first + TAKE_SAMPLES]
        for first in range(0, len(enrolment), TAKE_SAMPLES)
        if len(enrolment) - first >= LEAST_ENROLMENT_SAMPLES
    )
    return SpeakerAudio(speaker, takes, np.concatenate(utterances[count:]))


def cut_trials(judged: Samples, length_samples: int, most: int = MOST_TRIALS) -> Iterator[Samples]:
    """Yield pieces of speech of one length that do not overlap, spread over all of it.

    Args:
        judged: the speech of one speaker, int16, shape (n,).
        length_samples: length of each piece, at least 1.
        most: maximum number of pieces, at least 1.
    """
    count = len(judged) // length_samples
    chosen = np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int))
    for index in chosen.tolist():
        yield judged[index * length_samples : (index + 1) * length_samples]
