"""Sound in, wakes and near misses out.

The detector asks a ``WakeModel``, not a network: another engine, or an ensemble of two that give
each other a second opinion, stands behind the same Protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from listener.sound.pcm import FRAME_SAMPLES, Frame, Samples, Sound
from listener.wake.features import Floats
from listener.wake.trigger import NearMiss, Rule, Trigger, Wake

__all__ = ["Detector", "NearMiss", "Rule", "Step", "Wake", "WakeModel"]


class WakeModel(Protocol):
    """What gives scores. Used by one thread at a time."""

    @property
    def words(self) -> tuple[str, ...]:
        """The wake words, in the order of the first columns of the scores."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns of the scores are called: ``words``, then any labels."""

    @property
    def steps_per_frame(self) -> int:
        """How many scores of each kind a frame brings."""

    def restart(self) -> None:
        """Forget everything heard, and wipe it."""

    def push(self, samples: Samples) -> Floats:
        """Score one frame that follows the last one without a gap.

        Args:
            samples: int16, shape (1280,).

        Returns:
            Shape (steps_per_frame, columns), 0 to 1, NaN throughout a step that was put off;
            valid until the next call.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """The scores of one step."""

    first_sample: int
    end_sample: int
    scores: Mapping[str, float]
    """By word, and by label where a model has several outputs; empty when put off."""


class Detector:
    """Watch a stream for wake words.

    Nothing spans a gap: after one, everything is as it was at the start. Not safe for use by
    several threads.
    """

    def __init__(self, model: WakeModel, rules: Mapping[str, Rule]) -> None:
        """Prepare.

        Args:
            model: what gives scores.
            rules: for each of the model's words.
        """
        self._model = model
        self.thresholds: Final = {word: rules[word].threshold for word in model.words}
        """By word, in the order of the scores."""
        self._triggers = tuple(Trigger(word, rules[word]) for word in model.words)
        self._step_samples = FRAME_SAMPLES // model.steps_per_frame
        self._latest: Floats = np.empty((0, len(model.columns)), np.float32)
        self._end_sample = 0

    @property
    def scores(self) -> Mapping[str, float]:
        """The newest step's scores by name; empty before the first, after a gap, when put off."""
        steps = self.steps
        return steps[-1].scores if steps else {}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the last push, oldest first; none if it was a gap."""
        begin = self._end_sample - len(self._latest) * self._step_samples
        return tuple(
            Step(
                begin + index * self._step_samples,
                begin + (index + 1) * self._step_samples,
                {}
                if np.isnan(row[0])
                else dict(zip(self._model.columns, row.tolist(), strict=True)),
            )
            for index, row in enumerate(self._latest)
        )

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame, or the gap before it; return what was found, oldest first."""
        if not isinstance(sound, Frame):
            self._restart()
            return ()
        self._latest = self._model.push(sound.samples)
        self._end_sample = end_sample = sound.end_sample
        detections: list[Wake | NearMiss] | None = None
        sample = end_sample - len(self._latest) * self._step_samples
        for row in self._latest.tolist():
            sample += self._step_samples
            # A step that was put off scores too low to matter: NaN counts as nothing.
            for trigger, score in zip(self._triggers, row, strict=False):
                event = trigger.push(score if score == score else 0.0, sample)  # noqa: PLR0124 - NaN differs from itself
                if event is not None:
                    detections = [*(detections or ()), event]
        return tuple(detections) if detections else ()

    def _restart(self) -> None:
        self._model.restart()
        for trigger in self._triggers:
            trigger.restart()
        self._latest = self._latest[:0]
