"""Second opinion: a network of another engine scores a word again where its head scores faintly.

openWakeWord and microWakeWord err on different sounds. Where the head's score reaches a low bound,
microWakeWord's network for the same word takes the last two seconds, and the mean of both logits is
the score of the step. The head's score is held for some steps, because the two engines do not reach
their peaks at the same time. The front end of the second starts with these two seconds, and goes on
from step to step while steps follow at which it is asked. ``docs/decisions/0072`` gives the
measurements behind the constants.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.wakeword import micro_features
from listener.wakeword.detector import WakeModel
from listener.wakeword.features import Floats
from listener.wakeword.micro_features import MicroFeatures, Whole

OPINION_SAMPLES: Final = 2 * SAMPLE_RATE_HZ
"""Audio that a second opinion takes, up to the end of the step: two seconds."""
OPINION_FRAMES: Final = (
    OPINION_SAMPLES - micro_features.FRAME_SAMPLES
) // micro_features.STRIDE_SAMPLES + 1
"""Frames of features in that audio."""
HELD_FRAMES: Final = 2
"""Frames after a score of the head at which it still counts, if no higher one follows."""
CONTINUED_SAMPLES: Final = SAMPLE_RATE_HZ
"""Time without a question after which the front end starts anew: a second."""
CHUNK_FRAMES: Final = OPINION_FRAMES // 3
"""Frames computed at once: buffers of this length stay in the cache of a small processor."""
LATEST_FRAMES: Final = 4
"""Frames by which scores may come later than their audio. Their two seconds are then shorter by
these frames: no audio is kept for longer than two seconds."""

_LEAST_PROBABILITY: Final = 1 / 512
"""Half a step of the second network's probabilities, for its probability of 0."""
_LEAST_SCORE: Final = 1 / 256
"""Bound of the head's certainty: its score alone, against a second probability of 0, is no wake."""
_OVERLAP_SAMPLES: Final = micro_features.FRAME_SAMPLES - micro_features.STRIDE_SAMPLES
_RING_FRAMES: Final = OPINION_SAMPLES // FRAME_SAMPLES


class OpinionNetwork(Protocol):
    """microWakeWord's network for a word. Used by one thread at a time."""

    def probabilities(self, features: Whole) -> Floats:
        """Return the averaged probabilities over some audio, oldest first.

        Args:
            features: of ``MicroFeatures``, shape (198, 40).

        Returns:
            float32, shape (n,), 0 to 1; valid until the next call.
        """

    def wipe(self) -> None:
        """Overwrite the copy of the last features."""


class RecordingModel(Protocol):
    """A model that scores recordings in batches, at a hop of 80 ms. For one thread."""

    @property
    def words(self) -> tuple[str, ...]:
        """Names of the wake words, in the order of the columns of the scores."""

    def restart(self) -> None:
        """Start anew."""

    def push(self, samples: Samples) -> Floats:
        """Score whole frames that follow the previous ones without a gap.

        Args:
            samples: int16, shape (n * 1280,).

        Returns:
            float32, shape (n, words), 0 to 1; the caller may change it.
        """


class StagedModel(RecordingModel, Protocol):
    """A model for recordings that a first stage may keep from scoring some steps in time."""

    @property
    def late_frames(self) -> Sequence[int]:
        """Frames after each step of the last push at which a device has its scores."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The second opinion on one word."""

    column: int
    """Column of the word in the scores."""
    network: OpinionNetwork
    from_score: float
    """Score of the head from which the network is asked, 0 to 1."""


class SecondOpinions:
    """Second opinions on the words of one stream. Not safe for use by several threads."""

    def __init__(
        self, front_end: MicroFeatures, opinions: Sequence[Opinion], step_samples: int
    ) -> None:
        """Allocate the buffer of the last seconds.

        Args:
            front_end: computes the features that all networks take.
            opinions: one for each word that has one.
            step_samples: samples between scores.
        """
        self._front_end = front_end
        self._opinions = tuple(opinions)
        self._step_samples = step_samples
        # Each frame is written twice, one length apart: every stretch is contiguous.
        self._ring = np.zeros((2, _RING_FRAMES, FRAME_SAMPLES), np.int16)
        self._samples = self._ring.reshape(-1)
        self._slots = tuple(self._ring.transpose(1, 0, 2))
        self._features = np.zeros((OPINION_FRAMES, micro_features.CHANNELS), np.int32)
        self._slot = _RING_FRAMES - 1
        self._end_sample = 0
        self._asked_sample: int | None = None
        self._bounds = tuple((each.column, each.from_score) for each in self._opinions)
        self._held_steps = HELD_FRAMES * FRAME_SAMPLES // step_samples
        self._recent = tuple(deque[float]((), self._held_steps + 1) for _ in self._opinions)
        self._faint_steps = 0

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""
        self._ring[:] = 0
        self._end_sample = 0
        self._faint_steps = 0
        for recent in self._recent:
            recent.clear()
        if self._asked_sample is not None:
            self._forget_question()

    def _forget_question(self) -> None:
        """Overwrite what the last questions left."""
        self._asked_sample = None
        self._features[:] = 0
        self._front_end.restart()
        for opinion in self._opinions:
            opinion.network.wipe()

    def push(self, samples: Samples) -> None:
        """Take the next frame, int16, shape (1280,)."""
        self._slot = (self._slot + 1) % _RING_FRAMES
        self._slots[self._slot][:] = samples
        self._end_sample += FRAME_SAMPLES
        if self._asked_sample is None:
            return
        since = self._end_sample - self._asked_sample
        if since > CONTINUED_SAMPLES + LATEST_FRAMES * FRAME_SAMPLES:
            self._forget_question()
        elif since > 0:
            # Features are not kept for longer than the audio.
            self._features[: since // micro_features.STRIDE_SAMPLES] = 0

    def revise(self, scores: Floats, late_frames: int = 0) -> None:
        """Replace the scores on which there is a second opinion.

        Args:
            scores: of the newest n steps, oldest first, shape (n, columns); changed in place. NaN
                where a score was not computed.
            late_frames: frames that a device has taken since, when it has these scores. A stream
                has pushed them; a recording has not, and leaves out the audio that the device has
                overwritten by then.
        """
        rows = scores.tolist()
        if not self._faint_steps and not self._are_faint(rows):
            return
        end_sample = self._end_sample - len(rows) * self._step_samples
        now_sample = self._end_sample + late_frames * FRAME_SAMPLES
        for index, row in enumerate(rows):
            end_sample += self._step_samples
            self._faint_steps = max(self._faint_steps - 1, 0)
            for opinion, recent in zip(self._opinions, self._recent, strict=True):
                score = row[opinion.column]
                is_computed = not math.isnan(score)
                recent.append(score if is_computed else 0.0)
                highest = max(recent)
                if highest < opinion.from_score:
                    continue
                if score >= opinion.from_score:
                    self._faint_steps = self._held_steps
                if is_computed:
                    features = self._advance(end_sample, now_sample)
                    probability = float(opinion.network.probabilities(features).max())
                    opinion.network.wipe()
                    scores[index, opinion.column] = combine(highest, probability)

    def _are_faint(self, rows: Sequence[Sequence[float]]) -> bool:
        """Return whether a score reaches its bound. Scores below it have no effect later."""
        for row in rows:
            for column, bound in self._bounds:
                if row[column] >= bound:
                    for recent in self._recent:
                        recent.clear()
                    return True
        return False

    def _advance(self, end_sample: int, now_sample: int) -> Whole:
        """Return the features of the two seconds up to a sample.

        The front end goes on where it was asked before if that is not long ago.

        Args:
            end_sample: end of the step.
            now_sample: end of the newest audio of a device; what is older than two seconds then is
                left out.
        """
        asked = self._asked_sample
        if asked is None or end_sample - asked > CONTINUED_SAMPLES:
            self._front_end.restart()
            self._features[:] = 0
            asked = now_sample - OPINION_SAMPLES + _OVERLAP_SAMPLES
        self._asked_sample = end_sample
        newest = (self._slot + _RING_FRAMES + 1) * FRAME_SAMPLES - self._end_sample
        features = self._features
        while asked < end_sample:
            frames = min(
                (end_sample - asked) // micro_features.STRIDE_SAMPLES,
                self._front_end.longest_frames,
            )
            last = asked + frames * micro_features.STRIDE_SAMPLES
            audio = self._samples[newest + asked - _OVERLAP_SAMPLES : newest + last]
            features[:-frames] = features[frames:]
            features[-frames:] = self._front_end.step(audio)
            asked = last
        features[: (now_sample - end_sample) // micro_features.STRIDE_SAMPLES] = 0
        return features


def window_features(front_end: MicroFeatures, samples: Samples) -> Whole:
    """Return the features of a stretch from a fresh start.

    Args:
        front_end: computes the features; its state is that of the end of the stretch afterwards.
        samples: int16, shape (n * 160 + 320,).

    Returns:
        int32, shape (n, 40).
    """
    front_end.restart()
    chunk = front_end.longest_frames * micro_features.STRIDE_SAMPLES
    return np.concatenate(
        [
            front_end.step(samples[first : first + chunk + _OVERLAP_SAMPLES])
            for first in range(0, len(samples) - _OVERLAP_SAMPLES, chunk)
        ]
    )


def combine(score: float, probability: float) -> float:
    """Return the score of both engines: the mean of their logits, as a probability.

    Args:
        score: of the head, 0 to 1.
        probability: of the second network, 0 to 1.
    """
    logit = (_logit(score, _LEAST_SCORE) + _logit(probability, _LEAST_PROBABILITY)) / 2
    return 1 / (1 + math.exp(-logit))


def _logit(probability: float, least: float) -> float:
    """Return the logit of a probability, which is at least ``least`` away from 0 and 1."""
    within = min(max(probability, least), 1 - least)
    return math.log(within / (1 - within))


class EnsembleModel:
    """A model whose scores second opinions revise; see ``WakeModel``.

    Implements `wakeword.detector.WakeModel`. Not safe for use by several threads.
    """

    def __init__(self, model: WakeModel, opinions: SecondOpinions) -> None:
        """Combine a model with second opinions.

        Args:
            model: scores the stream.
            opinions: on its words, at the same steps.
        """
        self._model = model
        self._opinions = opinions
        self.words = model.words
        """Names of the wake words."""
        self.columns = model.columns
        """Names of the columns of the scores: words, then labels."""
        self.steps_per_frame = model.steps_per_frame
        """Steps in a frame."""

    def restart(self) -> None:
        """Overwrite all audio and features, and start anew."""
        self._model.restart()
        self._opinions.restart()

    def push(self, samples: Samples) -> Floats:
        """Score one frame; see ``WakeModel.push``."""
        scores = self._model.push(samples)
        self._opinions.push(samples)
        self._opinions.revise(scores)
        return scores


class BatchEnsemble:
    """The same for recordings, in batches; see ``RecordingModel``.

    Not safe for use by several threads.
    """

    def __init__(self, model: StagedModel, opinions: SecondOpinions) -> None:
        """Combine a model with second opinions, at a hop of 80 ms.

        Args:
            model: scores recordings.
            opinions: on its words, at steps of a frame.
        """
        self._model = model
        self._opinions = opinions
        self.words = model.words
        """Names of the wake words, in the order of the columns of the scores."""

    def restart(self) -> None:
        """Start anew."""
        self._model.restart()
        self._opinions.restart()

    def push(self, samples: Samples) -> Floats:
        """Score whole frames; see ``RecordingModel.push``."""
        scores = self._model.push(samples)
        frames = samples.reshape(len(scores), FRAME_SAMPLES)
        for row, (frame, late) in enumerate(zip(frames, self._model.late_frames, strict=True)):
            self._opinions.push(frame)
            self._opinions.revise(scores[row : row + 1], late)
        return scores
