"""Training of a student of the embedding network: regression of embeddings from mel frames.

A batch is a set of stretches of the training streams; a part of them surrounds the ends of words.
The gradients are written out for the one network shape of ``listener/wakeword/student.py``. Same
streams and seed, same weights on the same machine. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from listener.train.optimise import Adam
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats
from listener.wakeword.student import INPUTS, StudentWeights

WIDTH: Final = 160
TAPS: Final = (4, 4, 4)
STRETCHES: Final = 32
"""Stretches in a batch."""
STRETCH_STEPS: Final = 48
"""Steps of a stretch whose embeddings are compared: 3.8 s."""
_WORD_STRETCHES: Final = 12
"""Stretches of a batch that surround the end of a word."""
_WORD_WEIGHT: Final = 3.0
_WORD_BEFORE_STEPS: Final = 14
_WORD_AFTER_STEPS: Final = 4
_SMALLEST_DEVIATION: Final = 1e-3


@dataclass(frozen=True, slots=True)
class TeacherStream:
    """A stretch of audio as mel frames, and what the embedding network gives for it."""

    mel: NDArray[np.float16]
    """Shape (steps, 256): the 8 mel frames of each step."""
    embeddings: NDArray[np.float16]
    """Shape (steps, 96)."""
    word_steps: NDArray[np.int64]
    """Steps at which a wake word ends, rising; may be empty."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a student learns."""

    batches: int
    highest_rate: float = 3e-3
    """Learning rate after the warm-up, from which it falls; by default that of a new student."""


def train_student(
    streams: Sequence[TeacherStream],
    schedule: Schedule,
    random: Generator,
    start: StudentWeights | None = None,
    on_batch: Callable[[int, float], None] = lambda _batch, _loss: None,
) -> StudentWeights:
    """Train a student from the beginning, or from the weights of a round before.

    Args:
        streams: each longer than a stretch with its context, some with words.
        schedule: number of batches and learning rate.
        random: draws weights and stretches.
        start: weights of the round before; None: random ones.
        on_batch: called with the number of each batch and its loss.

    Returns:
        The weights.
    """
    scale = _Scale.of(streams)
    network = _Network.draw(WIDTH, TAPS, random) if start is None else _Network.unfold(start, scale)
    optimiser = Adam(network.parameters, schedule.batches, schedule.highest_rate)
    draw = _Stretches(streams, network.context_steps, random)
    for batch in range(1, schedule.batches + 1):
        mel, target, weight = draw.batch()
        inputs = (mel - scale.mel_mean) / scale.mel_deviation
        wanted = (target - scale.mean) / scale.deviation
        output, cache = network.forward(inputs)
        error = output - wanted
        loss = float((weight[..., None] * error * error).mean())
        gradient = error * (weight[..., None] * np.float32(2 / error.size))
        optimiser.update(network.backward(cache, gradient))
        on_batch(batch, loss)
    return network.fold(scale)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Mean and standard deviation of mel frames and embeddings."""

    mel_mean: Floats
    mel_deviation: Floats
    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, streams: Sequence[TeacherStream]) -> "_Scale":
        measures: list[Floats] = []
        for parts in ([s.mel for s in streams], [s.embeddings for s in streams]):
            count = sum(map(len, parts))
            mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / count
            power = (
                sum(np.square(part.astype(np.float32) - mean).sum(axis=0) for part in parts) / count
            )
            measures += [
                np.asarray(mean, np.float32),
                (np.sqrt(power) + _SMALLEST_DEVIATION).astype(np.float32),
            ]
        return cls(*measures)


class _Stretches:
    """Draws batches of stretches."""

    def __init__(
        self, streams: Sequence[TeacherStream], context_steps: int, random: Generator
    ) -> None:
        self._random = random
        self._before = context_steps - 1
        length = self._before + STRETCH_STEPS
        self._streams = [stream for stream in streams if len(stream.mel) >= length]
        self._starts = np.array([len(stream.mel) - length + 1 for stream in self._streams])
        self._bounds = np.cumsum(self._starts)
        self._words = [
            (index, step)
            for index, stream in enumerate(self._streams)
            for step in stream.word_steps.tolist()
        ]
        self._weights = [_word_weights(stream) for stream in self._streams]

    def batch(self) -> tuple[Floats, Floats, Floats]:
        """Return mel frames, embeddings and weights."""
        random = self._random
        chosen = []
        from_words = _WORD_STRETCHES if self._words else 0
        for number in random.integers(self._bounds[-1], size=STRETCHES - from_words).tolist():
            index = int(np.searchsorted(self._bounds, number, side="right"))
            chosen.append((index, number - int(self._bounds[index] - self._starts[index])))
        for word in random.integers(len(self._words), size=from_words).tolist():
            index, step = self._words[word]
            place = int(random.integers(_WORD_BEFORE_STEPS, STRETCH_STEPS - _WORD_AFTER_STEPS))
            first = step - place - self._before
            chosen.append((index, min(max(first, 0), int(self._starts[index]) - 1)))
        length = self._before + STRETCH_STEPS
        mel = np.stack([self._streams[i].mel[first : first + length] for i, first in chosen])
        target = np.stack(
            [
                self._streams[i].embeddings[first + self._before : first + length]
                for i, first in chosen
            ]
        )
        weight = np.stack(
            [self._weights[i][first + self._before : first + length] for i, first in chosen]
        )
        return mel.astype(np.float32), target.astype(np.float32), weight


def _word_weights(stream: TeacherStream) -> Floats:
    weights = np.ones(len(stream.mel), np.float32)
    for step in stream.word_steps.tolist():
        weights[max(0, step - _WORD_BEFORE_STEPS) : step + _WORD_AFTER_STEPS] = _WORD_WEIGHT
    return weights


class _Network:
    """The student with gradients, on standardised inputs and outputs."""

    def __init__(self, parameters: list[Floats], taps: Sequence[int]) -> None:
        self.parameters = parameters
        """First matrix and bias, those of each convolution, last matrix and bias."""
        self._taps = tuple(taps)

    @classmethod
    def draw(cls, width: int, taps: Sequence[int], random: Generator) -> "_Network":
        sizes = [(INPUTS, width, 1.0), *((k * width, width, 2.0) for k in taps)]
        parameters: list[Floats] = []
        for inputs, outputs, gain in (*sizes, (width, FEATURES, 1.0)):
            matrix = random.standard_normal((inputs, outputs)) * np.sqrt(gain / inputs)
            parameters += [matrix.astype(np.float32), np.zeros(outputs, np.float32)]
        return cls(parameters, taps)

    @property
    def context_steps(self) -> int:
        return 1 + sum(taps - 1 for taps in self._taps)

    def forward(self, inputs: Floats) -> tuple[Floats, Any]:
        """Return outputs, shape (n, steps - context + 1, 96), and the activations."""
        first, first_bias, *middle, last, last_bias = self.parameters
        hidden = np.maximum(inputs @ first + first_bias, 0)
        layers = []
        for taps, matrix, bias in zip(self._taps, middle[::2], middle[1::2], strict=True):
            steps = hidden.shape[1] - taps + 1
            joined = np.concatenate([hidden[:, tap : tap + steps] for tap in range(taps)], axis=2)
            total = np.maximum(joined @ matrix + bias, 0)
            layers.append((hidden, joined, total))
            hidden = hidden[:, taps - 1 :] + total
        return hidden @ last + last_bias, (inputs, layers, hidden)

    def backward(self, cache: Any, gradient: Floats) -> list[Floats]:  # noqa: ANN401 - the activations that forward returned
        """Return the gradient of each parameter."""
        inputs, layers, hidden = cache
        _, _, *middle, last, _ = self.parameters
        gradients = [_product(hidden, gradient), gradient.sum(axis=(0, 1))]
        at_hidden = gradient @ last.T
        for taps, matrix, (before, joined, total) in zip(
            self._taps[::-1], middle[-2::-2], layers[::-1], strict=True
        ):
            at_total = at_hidden * (total > 0)
            gradients = [_product(joined, at_total), at_total.sum(axis=(0, 1)), *gradients]
            at_joined = at_total @ matrix.T
            at_before = np.zeros_like(before)
            at_before[:, taps - 1 :] = at_hidden
            width, steps = before.shape[2], at_hidden.shape[1]
            for tap in range(taps):
                at_before[:, tap : tap + steps] += at_joined[..., tap * width : (tap + 1) * width]
            at_hidden = at_before
        before = layers[0][0] if layers else hidden
        at_first = at_hidden * (before > 0)
        return [_product(inputs, at_first), at_first.sum(axis=(0, 1)), *gradients]

    def fold(self, scale: _Scale) -> StudentWeights:
        """Return the weights for mel frames and embeddings as they are."""
        first, first_bias, *middle, last, last_bias = self.parameters
        raw = first / scale.mel_deviation[:, None]
        return StudentWeights(
            first=raw,
            first_bias=first_bias - scale.mel_mean @ raw,
            convolutions=tuple(
                matrix.reshape(taps, -1, matrix.shape[1])
                for taps, matrix in zip(self._taps, middle[::2], strict=True)
            ),
            biases=tuple(bias.copy() for bias in middle[1::2]),
            last=last * scale.deviation,
            last_bias=last_bias * scale.deviation + scale.mean,
        )

    @classmethod
    def unfold(cls, weights: StudentWeights, scale: _Scale) -> "_Network":
        """Return the network of some weights; the inverse of ``fold``."""
        parameters: list[Floats] = [
            weights.first * scale.mel_deviation[:, None],
            weights.first_bias + scale.mel_mean @ weights.first,
        ]
        for kernel, bias in zip(weights.convolutions, weights.biases, strict=True):
            parameters += [kernel.reshape(-1, kernel.shape[2]).copy(), bias.copy()]
        parameters += [
            weights.last / scale.deviation,
            (weights.last_bias - scale.mean) / scale.deviation,
        ]
        return cls(parameters, [len(kernel) for kernel in weights.convolutions])


def _product(left: Floats, right: Floats) -> Floats:
    """Return the sum over all steps of the outer products."""
    product: Floats = left.reshape(-1, left.shape[2]).T @ right.reshape(-1, right.shape[2])
    return product
