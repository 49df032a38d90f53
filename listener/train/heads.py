"""Heads of a wake word in numpy: network, gradients, and the mean of several.

A head takes a window of 16 embeddings and gives a logit. `DenseHead` has the shape of
openWakeWord's own heads. All arithmetic is float32 and of one thread, so that a seed gives the
same weights. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.random import Generator

from listener.train.features import WINDOW_FRAMES
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats

INPUTS: Final = WINDOW_FRAMES * FEATURES
AVERAGED: Final = 3
"""Heads whose logits are averaged in a model."""
CLIP: Final = 6.0
"""Standardised inputs are clipped to this many standard deviations."""

_LEVELS: Final = 256
_DROPPED_LEVELS: Final = 26
_INPUT_KEPT: Final = 1 - _DROPPED_LEVELS / _LEVELS
"""Part of the inputs that dropout keeps in training, 0.9; in use, inputs are scaled by it."""
_HIDDEN_KEPT: Final = 0.7
_INPUT_NOISE: Final = 0.2
"""Standard deviation of the noise that is added in training; the noise is uniform."""


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and standard deviation of each input of a head."""

    mean: Floats
    """float32, shape (1536,)."""
    deviation: Floats
    """float32, shape (1536,), above 0."""

    def apply(self, windows: Floats) -> Floats:
        """Return standardised and clipped inputs.

        Args:
            windows: float32, shape (n, 1536).
        """
        scaled: Floats = (windows - self.mean) / self.deviation
        return np.clip(scaled, -CLIP, CLIP, out=scaled)


def fit_standard(windows: Floats) -> Standard:
    """Measure mean and standard deviation of windows, float32, shape (n, 1536)."""
    deviation = windows.std(axis=0, dtype=np.float64) + 1e-3
    return Standard(
        windows.mean(axis=0, dtype=np.float64).astype(np.float32), deviation.astype(np.float32)
    )


class TrainableHead(Protocol):
    """A trainable network. Not safe for use by several threads."""

    parameters: list[Floats]
    """Weights, changed in place by the optimiser."""

    def forward(self, inputs: Floats, random: Generator | None) -> tuple[Floats, Any]:
        """Return the logits of standardised windows, and what ``backward`` needs.

        Args:
            inputs: float32, shape (n, 1536).
            random: noise and dropout of training; None in use.

        Returns:
            Logits, float32, shape (n,), and the activations.
        """

    def backward(self, cache: Any, gradient: Floats) -> list[Floats]:  # noqa: ANN401 - the head's own
        """Return the gradient of each parameter.

        Args:
            cache: activations that ``forward`` returned.
            gradient: of the loss with respect to the logits, float32, shape (n,).
        """


class DenseHead:
    """Two hidden layers of equal width; see `TrainableHead`."""

    def __init__(self, width: int, random: Generator) -> None:
        """Draw the weights.

        Args:
            width: units of each hidden layer.
            random: draws the weights.
        """
        self.parameters: list[Floats] = [
            *_layer(INPUTS, width, random),
            *_layer(width, width, random),
            *_layer(width, 1, random),
        ]

    def forward(self, inputs: Floats, random: Generator | None) -> tuple[Floats, Any]:
        """See ``TrainableHead.forward``."""
        first, first_bias, second, second_bias, last, last_bias = self.parameters
        x = _disturb(inputs, random)
        a, kept_a = _dropout(np.maximum(x @ first + first_bias, 0), random)
        b, kept_b = _dropout(np.maximum(a @ second + second_bias, 0), random)
        return (b @ last + last_bias)[:, 0], (x, a, kept_a, b, kept_b)

    def backward(self, cache: Any, gradient: Floats) -> list[Floats]:  # noqa: ANN401 - the head's own
        """See ``TrainableHead.backward``."""
        x, a, kept_a, b, kept_b = cache
        _, _, second, _, last, _ = self.parameters
        top = gradient[:, None]
        at_b = (top @ last.T) * (b > 0) * kept_b
        at_a = (at_b @ second.T) * (a > 0) * kept_a
        return [
            *(x.T @ at_a, at_a.sum(axis=0)),
            *(a.T @ at_b, at_b.sum(axis=0)),
            *(b.T @ top, top.sum(axis=0)),
        ]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The mean of the logits of several heads with the same inputs."""

    standard: Standard
    heads: tuple[TrainableHead, ...]

    def score(self, windows: Floats) -> Floats:
        """Return the mean logit of each window.

        Args:
            windows: float32, shape (n, 1536), not standardised.

        Returns:
            float32, shape (n,).
        """
        inputs = self.standard.apply(windows)
        logits = [head.forward(inputs, None)[0] for head in self.heads]
        mean: Floats = np.mean(logits, axis=0, dtype=np.float32)
        return mean


def gather(embeddings: Floats, ends: Sequence[int] | np.ndarray[Any, Any]) -> Floats:
    """Return the windows that end with the given steps, float32, shape (n, 1536).

    Args:
        embeddings: float32, shape (steps, 96).
        ends: the last step of each window, 15 or later.
    """
    steps = np.asarray(ends)[:, None] + np.arange(1 - WINDOW_FRAMES, 1)
    return embeddings[steps].reshape(len(steps), INPUTS)


def input_scale() -> float:
    """Return the factor of the inputs in use, which dropout makes necessary."""
    return _INPUT_KEPT


def _layer(inputs: int, outputs: int, random: Generator) -> tuple[Floats, Floats]:
    weights = random.standard_normal((inputs, outputs), np.float32) * np.float32(
        np.sqrt(2 / inputs)
    )
    return weights, np.zeros(outputs, np.float32)


def _disturb(inputs: Floats, random: Generator | None) -> Floats:
    if random is None:
        return inputs * np.float32(_INPUT_KEPT)
    # A byte for each: normal and uniform floats would take half of the time of a training.
    levels, chances = np.frombuffer(random.bytes(2 * inputs.size), np.uint8).reshape(
        2, *inputs.shape
    )
    scale = _INPUT_NOISE * np.sqrt(12 / (_LEVELS**2 - 1))
    noisy: Floats = levels.astype(np.float32)
    noisy -= np.float32((_LEVELS - 1) / 2)
    noisy *= np.float32(scale)
    noisy += inputs
    noisy *= chances >= _DROPPED_LEVELS
    return noisy


def _dropout(values: Floats, random: Generator | None) -> tuple[Floats, Floats | float]:
    if random is None:
        return values, 1.0
    kept = (random.random(values.shape, np.float32) < _HIDDEN_KEPT).astype(np.float32)
    kept /= np.float32(_HIDDEN_KEPT)
    return values * kept, kept
