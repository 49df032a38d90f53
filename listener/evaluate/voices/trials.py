"""Trials of speakers: speech that enrols a voice, and other speech of them that is judged. Pure.

The utterances of a speaker are taken in the order of their names, so that a voice is enrolled with
the words or chapters of the first ones and judged on those of the others. An enrolment has the
number and the length of recordings that ``earmark owner enrol`` asks for; a speaker with less
speech is a stranger and a guest only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.voiceprint.enrolment import FEWEST_SENTENCES, SENTENCES
from listener.voiceprint.speech import MAX_SPEECH_SAMPLES, MIN_SPEECH_SAMPLES

LEAST_ENROLMENT_SAMPLES: Final = FEWEST_SENTENCES * MIN_SPEECH_SAMPLES
"""Least speech that enrols a voice."""
MOST_ENROLMENT_SAMPLES: Final = SENTENCES * MAX_SPEECH_SAMPLES
"""Most speech that enrols a voice."""
LEAST_JUDGED_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
"""Least speech of a speaker that is judged."""
MOST_TRIALS: Final = 30
"""Trials of a speaker of one length under one condition."""


@dataclass(frozen=True, slots=True)
class SpeakerAudio:
    """The speech of one speaker, without silence."""

    speaker: str
    takes: tuple[Samples, ...]
    """Pieces that enrol the voice, int16, of one length; none of a guest."""
    judged: Samples
    """Speech of other utterances, joined; int16."""

    @property
    def is_owner(self) -> bool:
        """Whether there is enough speech to enrol the voice."""
        return bool(self.takes)


def split_speech(speaker: str, utterances: Sequence[Samples]) -> SpeakerAudio | None:
    """Return the speech that enrols a voice and the speech that is judged.

    At most half of the speech enrols, or the least that an enrolment needs.

    Args:
        speaker: name of the speaker.
        utterances: their speech, int16, at 16 kHz, by name.

    Returns:
        Without `SpeakerAudio.takes` if there is too little to enrol; None if there is too little to
        judge.
    """
    total = sum(map(len, utterances))
    wanted = min(MOST_ENROLMENT_SAMPLES, max(total // 2, LEAST_ENROLMENT_SAMPLES))
    count = have = 0
    while count < len(utterances) and (
        have < LEAST_ENROLMENT_SAMPLES or have + len(utterances[count]) <= wanted
    ):
        have += len(utterances[count])
        count += 1
    if have >= LEAST_ENROLMENT_SAMPLES and total - have >= LEAST_JUDGED_SAMPLES:
        takes = _cut_takes(np.concatenate(utterances[:count])[:MOST_ENROLMENT_SAMPLES])
        return SpeakerAudio(speaker, takes, np.concatenate(utterances[count:]))
    if total >= LEAST_JUDGED_SAMPLES:
        return SpeakerAudio(speaker, (), np.concatenate(utterances))
    return None


def _cut_takes(enrolment: Samples) -> tuple[Samples, ...]:
    count = max(FEWEST_SENTENCES, len(enrolment) // MAX_SPEECH_SAMPLES)
    length = min(MAX_SPEECH_SAMPLES, len(enrolment) // count)
    return tuple(enrolment[at * length : (at + 1) * length] for at in range(count))


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
