"""Check of the voices: the share of their clips of a wake word that an existing model detects.

A low share means that an engine does not say the word as people do, or mispronounces it; a high
share does not mean that its speech is natural.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.evaluate.engines.interface import Engine
from listener.train.clips import plan_clips, speak_clips
from listener.train.voices.engine import VoiceEngine

CLIPS: Final = 25
"""Clips of each voice engine."""
LEAD_S: Final = 1.5
"""Silence before a clip: the first frames after a start have no score."""
TAIL_S: Final = 0.75
LEVEL: Final = 0.3
"""Factor of the clips, whose peaks are at full scale."""


@dataclass(frozen=True, slots=True)
class VoiceCheck:
    """Result of one voice engine."""

    engine: str
    clips: int
    """Clips that the engine made."""
    detected: int
    """Those that reach the threshold of the model."""
    median: float
    """Median of the highest scores, 0 to 1; 0 without clips."""

    @property
    def share(self) -> float:
        """Share of the clips that are detected, 0 to 1."""
        return self.detected / self.clips if self.clips else 0.0


def check_voices(
    text: str,
    voices: Sequence[VoiceEngine],
    detector: Engine,
    seed: int,
    count: int = CLIPS,
) -> Iterator[VoiceCheck]:
    """Yield the result of each voice engine.

    Args:
        text: the wake word, as the voices are given it.
        voices: the voice engines.
        detector: engine of an existing model of this word, its first one.
        seed: seed of the clips.
        count: clips of each engine.

    Raises:
        Unavailable: a voice engine failed.
    """
    word = detector.words[0]
    threshold = detector.thresholds[word]
    for voice in voices:
        scores = [
            float(detector.track([_surround(clip.speech.samples)]).of(word).max(initial=0.0))
            for clip in speak_clips(
                plan_clips("word", (text,), (voice.name,), count), (voice,), seed
            )
        ]
        detected = sum(score >= threshold for score in scores)
        yield VoiceCheck(
            voice.name, len(scores), detected, float(np.median(scores)) if scores else 0.0
        )


def _surround(samples: Samples) -> Samples:
    """Return a clip at a moderate level, with silence around it."""
    sound = np.rint(samples * LEVEL).astype(np.int16)
    lead, tail = (np.zeros(round(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, TAIL_S))
    return np.concatenate([lead, sound, tail])
