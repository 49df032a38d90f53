"""Makes of sound and scores the stretches that a trace keeps of them. Pure.

What is taken of a frame is its power, summed over 2 s with that of its neighbours: no sample stays.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import numpy as np

from listener.sound.pcm import FRAME_SAMPLES, Frame
from listener.wake.detector import Step
from listener.wake.trace import (
    LEVEL_FRAMES,
    LOWEST_LEVEL_DB,
    PART_FRAMES,
    HeardLine,
    TraceDetection,
    WordScores,
    format_time,
    shorten_score,
)
from listener.wake.trigger import NearMiss, Wake

_FULL_SCALE: Final = 32_768.0


class TraceBuilder:
    """Sums up sound and scores, stretch by stretch; keeps no sample. One thread."""

    def __init__(self, words: Sequence[str], floor: float, step_samples: int) -> None:
        """Begin.

        Args:
            words: whose scores are kept.
            floor: from which on they are kept, 0 to 1.
            step_samples: from one score to the next.
        """
        self._words = tuple(words)
        self._floor = floor
        self._step_samples = step_samples
        self._clear(0)

    def frame(
        self, frame: Frame, steps: Iterable[Step], detections: Iterable[Wake | NearMiss]
    ) -> None:
        """Take a frame and what the detector made of it. A gap before it must have been taken.

        Args:
            frame: looked at for its power alone.
            steps: of this frame.
            detections: at this frame; a near miss may lie before it.
        """
        if not self._frames:
            self._clear(frame.first_sample)
        if self._frames % LEVEL_FRAMES == 0:
            self._powers.append([])
        loud = frame.samples.astype(np.float64)
        self._powers[-1].append(float(np.dot(loud, loud)) / len(loud))
        self._frames += 1
        for step in steps:
            place = (step.end_sample - self._first_sample) // self._step_samples - 1
            for word in self._words:
                score = step.scores.get(word, 0.0)
                if score >= self._floor:
                    places, values = self._scores.setdefault(word, ([], []))
                    places.append(place)
                    values.append(shorten_score(score))
        for event in detections:
            kind: Literal["wake", "near_miss"] = "wake" if isinstance(event, Wake) else "near_miss"
            self._found.append(
                TraceDetection(
                    kind=kind,
                    word=event.word,
                    score=shorten_score(event.score),
                    end_sample=event.end_sample,
                )
            )

    @property
    def is_full(self) -> bool:
        """Whether a minute of sound waits to be taken."""
        return self._frames >= PART_FRAMES

    def take(self, utc: datetime, monotonic_s: float) -> HeardLine | None:
        """Return the stretch since the last one, if there is any, and begin a new one.

        Args:
            utc: now, when the last frame has just been heard.
            monotonic_s: the same by the other clock.
        """
        if not self._frames:
            return None
        end_sample = self._first_sample + self._frames * FRAME_SAMPLES
        heard = HeardLine(
            first_sample=self._first_sample,
            end_sample=end_sample,
            utc=format_time(utc),
            monotonic_s=round(monotonic_s, 3),
            levels_db=tuple(_level_db(math.fsum(part) / len(part)) for part in self._powers),
            scores={
                word: WordScores(steps=tuple(places), scores=tuple(values))
                for word, (places, values) in self._scores.items()
            },
            found=tuple(self._found),
        )
        self._clear(end_sample)
        return heard

    def _clear(self, first_sample: int) -> None:
        self._first_sample = first_sample
        self._frames = 0
        self._powers: list[list[float]] = []
        self._scores: dict[str, tuple[list[int], list[float]]] = {}
        self._found: list[TraceDetection] = []


def _level_db(power: float) -> int:
    """Return mean power in whole decibels of full scale."""
    lowest = 10 ** (LOWEST_LEVEL_DB / 10) * _FULL_SCALE**2
    return min(0, round(10 * math.log10(max(power, lowest) / _FULL_SCALE**2)))
