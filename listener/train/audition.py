"""Samples of a phrase that a person listens to before the training: is it said as it should be?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.config import PlayerSettings
from listener.errors import Unavailable
from listener.hear.microphone.devices import load_portaudio
from listener.player.loudspeaker import Loudspeaker, LoudspeakerError
from listener.train.phrase import Phrase
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.espeak import EspeakEngine
from listener.train.voices.synthesis import choose_voice, derive_generator, synthesize

SAMPLES: Final = 3
"""Samples that are played, by different engines as far as there are."""
LEVEL: Final = 0.5
"""Factor of the samples, whose peaks are at full scale."""

# Natural voices first: a person cannot tell from a robotic one what is wrong.
_ORDER: Final = ("kokoro", "piper", "rhvoice", "festival", "flite", "espeak-ng")
_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.4


@dataclass(frozen=True, slots=True)
class PhraseSample:
    """The phrase by one voice."""

    engine: str
    voice: str
    samples: Samples
    """int16 at 16 kHz, shape (n,)."""


def transcribe_phrase(phrase: Phrase) -> str:
    """Return the pronunciation of a phrase in IPA, as espeak-ng gives it.

    Raises:
        Unavailable: espeak-ng is not installed.
    """
    return EspeakEngine().transcribe(phrase.spoken)


def speak_samples(
    phrase: Phrase, engines: Sequence[VoiceEngine], seed: int, count: int = SAMPLES
) -> tuple[PhraseSample, ...]:
    """Return samples of a phrase, by the most natural engines first.

    Args:
        phrase: the phrase.
        engines: at least one.
        seed: seed of the training.
        count: number of samples.

    Raises:
        Unavailable: an engine failed, or gives only silence.
    """
    ranked = sorted(
        engines,
        key=lambda engine: _ORDER.index(engine.name) if engine.name in _ORDER else len(_ORDER),
    )
    made = []
    for number in range(count):
        engine = ranked[number % len(ranked)]
        for attempt in range(_ATTEMPTS):
            random = derive_generator(seed, "sample", engine.name, number, attempt)
            speech = synthesize(phrase.spoken, engine, random, choose_voice(engine, random))
            if speech is not None:
                made.append(PhraseSample(engine.name, speech.voice, speech.samples))
                break
        else:
            raise Unavailable(f"{engine.name} does not say {phrase.spoken!r}")
    return tuple(made)


def play_samples(
    samples: Sequence[PhraseSample],
    settings: PlayerSettings,
    announce: Callable[[PhraseSample], None],
) -> None:
    """Play samples one after the other.

    Args:
        samples: of ``speak_samples``.
        settings: the loudspeaker.
        announce: called before each.

    Raises:
        Unavailable: PortAudio is not installed, or the loudspeaker cannot be opened.
    """
    loudspeaker = Loudspeaker(load_portaudio(), settings.device or "", LEVEL)
    pause = np.zeros(round(_PAUSE_S * SAMPLE_RATE_HZ), np.int16)
    for sample in samples:
        announce(sample)
        sound = np.concatenate([sample.samples, pause])
        try:
            loudspeaker.play(sound, SAMPLE_RATE_HZ, lambda: True)
        except LoudspeakerError as error:
            raise Unavailable(
                f"the samples cannot be played: {error}",
                "write them to files: earmark voices say PHRASE --to DIR",
            ) from error
