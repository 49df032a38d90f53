"""Speech of each speaker of a corpus: recordings with a speaker, each once, without silence.

An utterance is a recording or a segment of a stream with a speaker. A segment of a stream whose
source is also listed as a file of its own is left out, as is one with equal samples: the same sound
would otherwise enrol a voice and judge it.
"""

import fnmatch
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError
from listener.evaluate.corpus.items import InvalidItem, Item
from listener.evaluate.corpus.playback import open_item
from listener.voiceprint.speech import select_speech

VAD_STEP_SAMPLES: Final = 512
"""Samples of a step of the voice activity detector."""

_SPEECH_COMMANDS: Final = re.compile(r"(?:^|[/_])([0-9a-f]{8})_nohash_[0-9]+\b")
"""Name of a recording of Speech Commands (Warden 2018), which begins with its speaker's hash."""


class VoiceActivity(Protocol):
    """A voice activity detector, as ``listener.inference.onnx.SpeechNet``."""

    def reset(self) -> None:
        """Forget what was scored before."""

    def probability(self, samples: Samples) -> float:
        """Return the probability of speech, 0 to 1, of the next ``VAD_STEP_SAMPLES`` samples."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording of one speaker."""

    speaker: str
    name: str
    """Name of the recording in its source, without its ending."""
    item: Item
    """The file, or the stream, that holds it."""
    first_sample: int = 0
    end_sample: int | None = None
    """End in the item; None: to its end."""


def list_utterances(
    items: Iterable[Item | InvalidItem], patterns: Sequence[str] = ()
) -> tuple[Utterance, ...]:
    """Return the utterances of the items that match, each source once.

    Args:
        items: items of a corpus.
        patterns: shell patterns, one of which an item's name must match; empty: all items.
    """
    chosen = [
        item
        for item in items
        if isinstance(item, Item)
        and (not patterns or any(fnmatch.fnmatchcase(item.name, each) for each in patterns))
    ]
    files = {
        _tail(item.name): item.speaker for item in chosen if item.speaker and not item.segments
    }
    utterances = []
    for item in chosen:
        if item.speaker is not None and not item.segments:
            name = _without_ending(item.name)
            utterances.append(Utterance(_speaker(name, item.speaker), name, item))
        for index, part in enumerate(item.segments):
            if part.speaker is None:
                continue
            if part.clip and files.get(_tail(part.clip)) == part.speaker:
                continue
            name = _without_ending(part.clip) if part.clip else f"{item.name}@{index}"
            utterances.append(
                Utterance(
                    _speaker(name, part.speaker),
                    name,
                    item,
                    round(part.start_s * SAMPLE_RATE_HZ),
                    round(part.end_s * SAMPLE_RATE_HZ),
                )
            )
    return tuple(utterances)


def _speaker(name: str, label: str) -> str:
    """Return the speaker of a recording: of Speech Commands by its name, else by its label."""
    found = _SPEECH_COMMANDS.search(name)
    return found[1] if found else label


def _without_ending(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _tail(name: str) -> str:
    """Return the name of a recording without folder and ending."""
    return PurePosixPath(name).stem


def read_speech(
    utterances: Iterable[Utterance],
    detector: VoiceActivity,
    channel: int,
    faults: list[tuple[str, str]],
) -> Mapping[str, tuple[Samples, ...]]:
    """Return the speech of each utterance by speaker, in the order of the names.

    Args:
        utterances: the utterances.
        detector: finds the speech.
        channel: channel of the files, from 0.
        faults: name and reason are added for each item that cannot be read.
    """
    by_item: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_item[utterance.item.name].append(utterance)
    found: dict[str, list[tuple[str, Samples]]] = defaultdict(list)
    seen: set[bytes] = set()
    for name, members in by_item.items():
        try:
            audio = np.concatenate(list(open_item(members[0].item, channel).play()))
        except EarmarkError as error:
            faults.append((name, str(error)))
            continue
        for member in members:
            samples = audio[member.first_sample : member.end_sample]
            digest = hashlib.sha256(samples.tobytes()).digest()
            if digest not in seen:
                seen.add(digest)
                speech = select_speech(
                    samples, list(_probabilities(samples, detector)), VAD_STEP_SAMPLES
                )
                found[member.speaker].append((member.name, speech))
    return {
        speaker: tuple(speech for _, speech in sorted(takes, key=lambda take: take[0]))
        for speaker, takes in sorted(found.items())
    }


def _probabilities(samples: Samples, detector: VoiceActivity) -> Iterator[float]:
    detector.reset()
    for first in range(0, len(samples) - VAD_STEP_SAMPLES + 1, VAD_STEP_SAMPLES):
        yield detector.probability(samples[first : first + VAD_STEP_SAMPLES])
