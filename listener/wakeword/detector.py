"""Detection of wakes and near misses in a stream: scores, thresholds and refractory.

`StreamDetector` takes scores from a `WakeModel`, not from a network: another engine, or an ensemble
of several networks, can implement the same Protocol.

`Trigger` turns the scores of one word into wakes: a wake is the first step whose score is at or
above the threshold, and has been for the patience, at least one refractory after the last wake. The
steps that qualify at a higher threshold are a subset of those that qualify at a lower one, and the
first step of each run is taken, which gives the most wakes that fit a refractory apart. So a higher
threshold never gives more wakes, and scores computed once can be evaluated at every threshold.
``docs/decisions/0005`` gives the reasons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Frame, Samples, Sound
from listener.wakeword.features import Floats

SCORED_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
"""Audio that a score depends on: just under two seconds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions for a wake and for a near miss."""

    threshold: float
    """Score from which a step counts, 0 to 1."""
    patience_steps: int = 1
    """Consecutive steps at or above the threshold that make a wake."""
    refractory_samples: int = 0
    """Time after a wake without another wake, in samples."""
    near_miss_threshold: float = 1.0
    """Score from which a run of steps without a wake is a near miss, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Wake:
    """A wake word in the stream."""

    word: str
    """Name of the wake word."""
    score: float
    """Score of the step that made the wake, 0 to 1."""
    end_sample: int
    """End of that step, in samples from the start of the stream."""
    threshold: float
    """Threshold of the word, 0 to 1."""
    has_own_sound: bool = False
    """Whether the device's own loudspeaker may have sounded in the last two seconds of it."""

    @property
    def end_s(self) -> float:
        """End of the step, in seconds from the start of the stream."""
        return self.end_sample / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A run of scores above the near-miss threshold without a wake; known when the run ends."""

    word: str
    """Name of the wake word."""
    score: float
    """Highest score of the run, 0 to 1."""
    end_sample: int
    """End of the step with that score, in samples from the start of the stream."""
    has_own_sound: bool = False
    """Whether the device's own loudspeaker may have sounded in the last two seconds of it."""

    @property
    def end_s(self) -> float:
        """End of that step, in seconds from the start of the stream."""
        return self.end_sample / SAMPLE_RATE_HZ


class WakeModel(Protocol):
    """A model that scores a stream. Used by one thread at a time."""

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the wake words, in the order of the first columns of the scores."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the scores: ``words``, then any labels."""

    @property
    def steps_per_frame(self) -> int:
        """Steps, and so rows of scores, in a frame."""

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""

    def push(self, samples: Samples) -> Floats:
        """Score one frame that follows the previous one without a gap.

        Args:
            samples: int16, shape (1280,).

        Returns:
            float32, shape (n, columns), 0 to 1: the scores of the newest n steps, oldest first.
            n is ``steps_per_frame``, or less while scores are computed later, and more when they
            follow. NaN where a score is not computed. Valid until the next call.
        """


@dataclass(frozen=True, slots=True)
class Step:
    """The scores of one step."""

    first_sample: int
    """Start of the step, in samples from the start of the stream."""
    end_sample: int
    """End of the step, in samples from the start of the stream."""
    scores: Mapping[str, float]
    """Scores by word and by label, 0 to 1; without those that were not computed."""


class StreamDetector:
    """Wake-word detector for one stream of frames and gaps.

    No state spans a gap. Not safe for use by several threads.
    """

    def __init__(self, model: WakeModel, rules: Mapping[str, Rule]) -> None:
        """Combine a model with a rule for each of its words.

        Args:
            model: the model that scores the stream.
            rules: rule by word.
        """
        self._model = model
        self.thresholds: Final = {word: rules[word].threshold for word in model.words}
        """Threshold by word, in the order of the scores."""
        self._triggers = tuple(Trigger(word, rules[word]) for word in model.words)
        self.step_samples: Final = FRAME_SAMPLES // model.steps_per_frame
        """Length of a step, in samples."""
        self._latest: Floats = np.empty((0, len(model.columns)), np.float32)
        self._end_sample = 0
        self._own_sound_sample: int | None = None

    @property
    def has_own_sound(self) -> bool:
        """Whether the device's own loudspeaker may have sounded in the last two seconds."""
        return self._is_own_sound(self._end_sample)

    @property
    def scores(self) -> Mapping[str, float]:
        """Scores of the newest step by name; those that were not computed are absent."""
        return self._named(self._latest[-1].tolist()) if len(self._latest) else {}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the last `push` scored or put off, oldest first; none after a gap.

        With a first stage they may be fewer than those of the frame, and come with a later one.
        """
        begin = self._end_sample - len(self._latest) * self.step_samples
        return tuple(
            Step(
                begin + index * self.step_samples,
                begin + (index + 1) * self.step_samples,
                self._named(row),
            )
            for index, row in enumerate(self._latest.tolist())
        )

    def push(self, sound: Sound) -> tuple[Wake | NearMiss, ...]:
        """Take the next frame or gap; return wakes and near misses, oldest first."""
        if not isinstance(sound, Frame):
            self._restart()
            return ()
        self._latest = self._model.push(sound.samples)
        self._end_sample = end_sample = sound.end_sample
        if sound.has_own_sound:
            self._own_sound_sample = end_sample
        detections: list[Wake | NearMiss] | None = None
        sample = end_sample - len(self._latest) * self.step_samples
        for row in self._latest.tolist():
            sample += self.step_samples
            # A step that was put off (NaN) would score below every threshold: it counts as 0.
            for trigger, score in zip(self._triggers, row, strict=False):
                event = trigger.push(score if score == score else 0.0, sample)  # noqa: PLR0124 - NaN differs from itself
                if event is not None:
                    if self._is_own_sound(event.end_sample):
                        event = replace(event, has_own_sound=True)
                    detections = [*(detections or ()), event]
        return tuple(detections) if detections else ()

    def set_threshold(self, word: str, threshold: float | None) -> None:
        """Change the threshold of a word from the next frame on.

        Args:
            word: name of a wake word of the model.
            threshold: 0 to 1; None for no wakes and near misses of this word.
        """
        if threshold is not None:
            self.thresholds[word] = threshold
        self._triggers[self._model.words.index(word)].set_threshold(threshold)

    def _named(self, row: Sequence[float]) -> dict[str, float]:
        """Return the scores of a step by name, without those that were not computed."""
        return {
            name: score
            for name, score in zip(self._model.columns, row, strict=True)
            if not math.isnan(score)
        }

    def _is_own_sound(self, end_sample: int) -> bool:
        """Return whether a score that ends here depends on the device's own sound."""
        last = self._own_sound_sample
        return last is not None and end_sample - last < SCORED_SAMPLES

    def _restart(self) -> None:
        self._own_sound_sample = None
        self._model.restart()
        for trigger in self._triggers:
            trigger.restart()
        self._latest = self._latest[:0]


class Trigger:
    """Wakes and near misses from the scores of one word. Not safe for use by several threads."""

    def __init__(self, word: str, rule: Rule) -> None:
        self._word = word
        self._rule = rule
        self.set_threshold(rule.threshold)
        self.restart()

    def set_threshold(self, threshold: float | None) -> None:
        """Change the threshold; a run ends without a near miss, and the refractory goes on.

        Args:
            threshold: 0 to 1; None for no wakes and near misses.
        """
        self._in_run = False
        self._counting_steps = 0
        if threshold is None:
            self._run_from = math.inf
            return
        self._rule = replace(self._rule, threshold=threshold)
        # A step at the threshold never ends a run, even if the near-miss threshold is higher.
        self._run_from = min(self._rule.near_miss_threshold, threshold)

    def restart(self) -> None:
        """Start anew."""
        self._counting_steps = 0
        self._last_wake: int | None = None
        self._in_run = self._run_woke = False
        self._peak = 0.0
        self._peak_sample = 0

    def push(self, score: float, end_sample: int) -> Wake | NearMiss | None:
        """Take the score of the next step; return a wake or a near miss, if any.

        Args:
            score: 0 to 1.
            end_sample: end of the step; above that of the previous step.
        """
        if score < self._run_from:
            if not self._in_run:
                return None
            self._in_run = False
            self._counting_steps = 0
            return self._near_miss()
        if not self._in_run:
            self._in_run, self._run_woke, self._peak = True, False, -1.0
        if score > self._peak:
            self._peak, self._peak_sample = score, end_sample
        return self._wake(score, end_sample)

    def _wake(self, score: float, end_sample: int) -> Wake | None:
        rule = self._rule
        if score < rule.threshold:
            self._counting_steps = 0
            return None
        self._counting_steps += 1
        if self._counting_steps < rule.patience_steps or self._is_refractory(end_sample):
            return None
        self._last_wake = end_sample
        self._run_woke = True
        return Wake(self._word, score, end_sample, rule.threshold)

    def _near_miss(self) -> NearMiss | None:
        if self._run_woke or self._is_refractory(self._peak_sample):
            return None
        return NearMiss(self._word, self._peak, self._peak_sample)

    def _is_refractory(self, sample: int) -> bool:
        last = self._last_wake
        return last is not None and sample - last < self._rule.refractory_samples
