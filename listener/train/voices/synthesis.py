"""Clips of one spoken text: the engine's speech, as another vocal tract, trimmed and normalised."""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.train.voices.engine import VoiceEngine

PEAK: Final = 32_000
"""Peak of every clip, in units of int16."""
MARGIN_SAMPLES: Final = 400
"""Samples that are kept before and after the speech: 25 ms."""
SHORTEST_SAMPLES: Final = 3000
"""Shortest speech: 0.19 s; anything shorter is a failure of the engine."""

_BLOCK_SAMPLES: Final = 160
_QUIET_DB: Final = 38.0
"""A block this far below the loudest one is silence."""
_LEAST_CHANGE: Final = 0.01


@dataclass(frozen=True, slots=True)
class SyntheticSpeech:
    """A spoken text."""

    samples: Samples
    """int16 at 16 kHz, shape (n,), with its peak at ``PEAK`` and a margin of at most 25 ms."""
    voice: str
    """The voice that spoke it."""
    end: int
    """Sample after the last one of the speech, at most n."""


def derive_generator(seed: int, *names: str | int) -> Generator:
    """Return a random generator for one purpose, the same on every machine.

    Args:
        seed: seed of the training.
        names: what it is for; each combination has its own.
    """
    text = "\0".join(map(str, (seed, *names)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16]))


def choose_voice(engine: VoiceEngine, random: Generator) -> str:
    """Return one of an engine's voices."""
    return engine.voices[int(random.integers(len(engine.voices)))]


def synthesize(
    text: str, engine: VoiceEngine, random: Generator, voice: str | None = None
) -> SyntheticSpeech | None:
    """Speak a text by a voice, with random speed, pitch and vocal tract.

    Args:
        text: what the engine is given.
        engine: the engine.
        random: chooses everything that varies.
        voice: one of the engine's voices; None chooses one.

    Returns:
        The speech; None if the engine gave silence or less than 0.19 s.

    Raises:
        Unavailable: the engine failed.
    """
    chosen = choose_voice(engine, random) if voice is None else voice
    low, high = engine.resampling
    factor = float(random.uniform(low, high))
    spoken = engine.speak(text, chosen, random)
    return trim_speech(resample_speech(spoken, factor), chosen)


def trim_speech(samples: Samples, voice: str) -> SyntheticSpeech | None:
    """Cut the silence around speech, except for a margin, and normalise its peak.

    Args:
        samples: int16 at 16 kHz, shape (n,).
        voice: the voice that spoke it.

    Returns:
        The speech; None if there is less than 0.19 s of it.
    """
    blocks = len(samples) // _BLOCK_SAMPLES
    whole = samples[: blocks * _BLOCK_SAMPLES].astype(np.float64).reshape(blocks, _BLOCK_SAMPLES)
    power = np.square(whole).mean(axis=1)
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (-_QUIET_DB / 10))
    if not len(loud):
        return None
    first, last = int(loud[0]) * _BLOCK_SAMPLES, (int(loud[-1]) + 1) * _BLOCK_SAMPLES
    if last - first < SHORTEST_SAMPLES:
        return None
    start = max(0, first - MARGIN_SAMPLES)
    clip = samples[start : last + MARGIN_SAMPLES].astype(np.float64)
    clip *= PEAK / np.abs(clip).max()
    return SyntheticSpeech(np.rint(clip).astype(np.int16), voice, last - start)


def resample_speech(samples: Samples, factor: float) -> Samples:
    """Change pitch, formants and speed together by ``1 / factor``.

    Args:
        samples: int16 at 16 kHz, shape (n,).
        factor: length of the result divided by n; within 1 % of 1 nothing changes.
    """
    if abs(factor - 1) < _LEAST_CHANGE or not len(samples):
        return samples
    import soxr  # noqa: PLC0415 - a package of the extra, loaded only where speech is made

    scaled = samples.astype(np.float32)
    changed = np.rint(soxr.resample(scaled, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ))
    limits = np.iinfo(np.int16)
    whole: Samples = np.clip(changed, limits.min, limits.max).astype(np.int16)
    return whole
