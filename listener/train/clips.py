"""Synthetic clips of a wake word and of other speech, and labelled stretches made of them.

Each clip and each stretch has a random generator of its own, derived from the seed and its place in
the plan, so that the result does not depend on the number of workers or on an interruption.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.train.acoustics import Surroundings, place_speech
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.synthesis import SyntheticSpeech, derive_generator, synthesize

ClipKind = Literal["word", "near", "sentence"]

LONGEST_WORD_S: Final = 2.2
"""A clip of the wake word that is longer was not spoken as one phrase, and is not used."""
WORKERS: Final = 2
"""Clips that are spoken at once."""

_AHEAD: Final = 4
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """A clip to be made."""

    kind: ClipKind
    text: str
    """What the engine is given."""
    engine: str
    """Name of the engine."""
    number: int
    """Number in its plan; with kind and seed it determines everything random of the clip."""


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    """A clip that was made."""

    request: ClipRequest
    speech: SyntheticSpeech


@dataclass(frozen=True, slots=True)
class LabelledStretch:
    """A stretch of sound for a training stream; stretches are concatenated."""

    samples: Samples
    """int16 at 16 kHz, shape (n,)."""
    word_end: int | None
    """Sample after the last one of the wake word; None if the stretch does not contain it."""
    clip: SyntheticClip


def plan_clips(
    kind: ClipKind, texts: Sequence[str], engines: Sequence[str], count: int
) -> tuple[ClipRequest, ...]:
    """Plan clips of several texts by several engines, each in turn.

    Args:
        kind: what the texts are.
        texts: at least one; each is spoken by all engines before it is repeated.
        engines: names of the engines; one that is named twice speaks twice as often.
        count: number of clips.
    """
    return tuple(
        ClipRequest(
            kind,
            texts[(number // len(engines) + number % len(engines)) % len(texts)],
            engines[number % len(engines)],
            number,
        )
        for number in range(count)
    )


def speak_clips(
    requests: Iterable[ClipRequest],
    engines: Sequence[VoiceEngine],
    seed: int,
    workers: int = WORKERS,
) -> Iterator[SyntheticClip]:
    """Yield the planned clips in order; one that is not usable after three attempts is left out.

    Args:
        requests: the plan.
        engines: those that it names.
        seed: seed of the training.
        workers: clips that are spoken at once, at least 1.

    Raises:
        Unavailable: an engine failed.
    """
    by_name = {engine.name: engine for engine in engines}
    waiting = iter(requests)
    with ThreadPoolExecutor(workers) as pool:
        # Few at a time, so that a caller that stops does not wait for the whole plan.
        pending = [
            pool.submit(speak_clip, request, by_name[request.engine], seed)
            for request in islice(waiting, workers * _AHEAD)
        ]
        while pending:
            clip = pending.pop(0).result()
            pending.extend(
                pool.submit(speak_clip, request, by_name[request.engine], seed)
                for request in islice(waiting, 1)
            )
            if clip is not None:
                yield clip


def speak_clip(request: ClipRequest, engine: VoiceEngine, seed: int) -> SyntheticClip | None:
    """Make one clip; return None if it is not usable after three attempts.

    Raises:
        Unavailable: the engine failed.
    """
    for attempt in range(_ATTEMPTS):
        random = derive_generator(
            seed, "clip", request.kind, request.engine, request.number, attempt
        )
        speech = synthesize(request.text, engine, random)
        if speech is not None and (
            request.kind != "word" or speech.end <= LONGEST_WORD_S * SAMPLE_RATE_HZ
        ):
            return SyntheticClip(request, speech)
    return None


def place_clips(
    clips: Iterable[SyntheticClip], surroundings: Surroundings, seed: int, copies: int = 3
) -> Iterator[LabelledStretch]:
    """Yield several stretches of each clip: in rooms, with noise, at different levels.

    Args:
        clips: the clips.
        surroundings: recordings and other speech.
        seed: seed of the training.
        copies: stretches of each clip.
    """
    for clip in clips:
        request, speech = clip.request, clip.speech
        for copy in range(copies):
            random = derive_generator(
                seed, "stretch", request.kind, request.engine, request.number, copy
            )
            placed = place_speech(speech.samples, speech.end, surroundings, random)
            end = placed.end if request.kind == "word" else None
            yield LabelledStretch(placed.samples, end, clip)
