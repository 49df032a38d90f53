"""Clips with a second voice: how many are dropped, and what of it is left after trimming. Pure.

The speech of a clip is 4 s long. In the last second another speaker speaks, after the owner or at
the same time, at the owner's level. The same speech without the other speaker is the control.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.evaluate.metrics.intervals import Rate
from listener.evaluate.voices.error_rates import measure_share
from listener.voiceprint.bystander import BystanderVerdict

CLIP_SAMPLES: Final = 4 * SAMPLE_RATE_HZ
"""Length of a clip."""
OTHER_SAMPLES: Final = SAMPLE_RATE_HZ
"""Length of the other voice, at the end of the clip."""
MOST_CLIPS: Final = 6
"""Clips of a speaker of one kind under one condition."""


class SecondVoice(StrEnum):
    """Place of the other voice."""

    NONE = "none"
    """No other voice: the control."""
    AFTER = "after"
    """The other speaker speaks when the owner has finished."""
    OVER = "over"
    """Both speak in the last second."""


@dataclass(frozen=True, slots=True)
class JudgedClip:
    """A clip with its verdict."""

    speaker: int
    """Index of the owner."""
    kind: SecondVoice
    verdict: BystanderVerdict


@dataclass(frozen=True, slots=True)
class SecondVoiceRates:
    """Rates of clips with the other voice at one place, and of the controls."""

    dropped: Rate
    """Clips with another voice in which it was found."""
    own_dropped: Rate
    """Clips of the owner alone in which another voice was found."""
    left_s: Rate
    """Seconds of the other voice in the trimmed clip, of its seconds in all clips."""
    own_cut_s: Rate
    """Seconds of the owner alone that trimming removed, of their seconds in those clips."""


def compose_clips(own: Samples, other: Samples) -> Iterator[tuple[SecondVoice, Samples]]:
    """Yield the clip without and with the other voice.

    Args:
        own: speech of the owner, int16, shape (`CLIP_SAMPLES`,).
        other: speech of another speaker, int16, shape (`OTHER_SAMPLES`,).
    """
    yield SecondVoice.NONE, own
    begin, end = own[:-OTHER_SAMPLES], own[-OTHER_SAMPLES:].astype(np.float64)
    level = _rms(begin) / max(_rms(other), 1.0)
    second = other.astype(np.float64) * level
    for kind, last in ((SecondVoice.AFTER, second), (SecondVoice.OVER, second + end)):
        limits = np.iinfo(np.int16)
        whole = np.clip(np.rint(last), limits.min, limits.max).astype(np.int16)
        yield kind, np.concatenate([begin, whole])


def measure_second_voice(
    clips: Sequence[JudgedClip], kind: SecondVoice, speakers: int, seed: int
) -> SecondVoiceRates:
    """Count the outcomes of clips.

    Args:
        clips: with and without another voice.
        kind: place of the other voice, not ``NONE``.
        speakers: number of speakers.
        seed: seed of the resampling.
    """
    shape = (speakers,)
    trials, found, left = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    controls, wrongly, cut = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for clip in clips:
        verdict, at = clip.verdict, clip.speaker
        if clip.kind is kind:
            trials[at] += 1
            found[at] += verdict.has_bystander
            begin = max(verdict.first_sample, CLIP_SAMPLES - OTHER_SAMPLES)
            left[at] += max(0, verdict.end_sample - begin) / SAMPLE_RATE_HZ
        elif clip.kind is SecondVoice.NONE:
            controls[at] += 1
            wrongly[at] += verdict.has_bystander
            kept = verdict.end_sample - verdict.first_sample
            cut[at] += (CLIP_SAMPLES - kept) / SAMPLE_RATE_HZ
    other_s, clip_s = OTHER_SAMPLES / SAMPLE_RATE_HZ, CLIP_SAMPLES / SAMPLE_RATE_HZ

    def share(events: np.ndarray, exposures: np.ndarray) -> Rate:
        return measure_share(events.tolist(), exposures.tolist(), seed)

    return SecondVoiceRates(
        dropped=share(found, trials),
        own_dropped=share(wrongly, controls),
        left_s=share(left, trials * other_s),
        own_cut_s=share(cut, controls * clip_s),
    )


def _rms(samples: Samples) -> float:
    scaled = samples.astype(np.float64)
    return float(np.sqrt((scaled @ scaled) / len(scaled)))
