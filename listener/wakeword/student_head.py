"""Small heads for the student's embeddings: whether a word may have been said.

A student head is a dense network over the last 16 embeddings of the student, with one output. It
is trained to tell the word from all other sound, and takes fewer multiplications than the wake
word's own head. ``docs/decisions/0073`` gives the reasons.

The file of weights is a sequence of arrays as that of the student: 16-bit matrices and 32-bit
biases, layer by layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from listener.errors import ModelRefused
from listener.quantities import quantity
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats
from listener.wakeword.student import read_arrays, write_layers

STUDENT_WINDOW_FRAMES: Final = 16
"""Embeddings in the window of a student head."""
_INPUTS: Final = STUDENT_WINDOW_FRAMES * FEATURES
_WIDEST: Final = 256
_MOST_LAYERS: Final = 4
_LOWEST_LOGIT: Final = -60.0
"""Below it, the exponential would overflow."""


@dataclass(frozen=True, slots=True)
class StudentHeadWeights:
    """The weights of a student head, float32."""

    matrices: tuple[Floats, ...]
    """One for each layer, shape (inputs, outputs); the first has 1536 inputs, the last 1 output."""
    biases: tuple[Floats, ...]
    """One for each layer, shape (outputs,)."""


def read_student_head(data: bytes, name: str) -> StudentHeadWeights:
    """Read a file of weights.

    Args:
        data: any bytes are safe.
        name: name of the file for messages.

    Raises:
        ModelRefused: the bytes are not the weights of a student head.
    """
    arrays = read_arrays(data, name, 2 * _MOST_LAYERS)
    _check(arrays, name)
    return StudentHeadWeights(
        tuple(np.ascontiguousarray(array, np.float32) for array in arrays[::2]),
        tuple(np.ascontiguousarray(array, np.float32) for array in arrays[1::2]),
    )


def write_student_head(weights: StudentHeadWeights) -> bytes:
    """Return the file of weights; matrices are rounded to 16 bits."""
    return write_layers(weights.matrices, weights.biases)


def _check(arrays: Sequence[Any], name: str) -> None:
    """Raise unless the arrays are the layers of a student head."""
    reason = f"{name} is not the weights of a student head"
    if not arrays or len(arrays) % 2 or len(arrays) > 2 * _MOST_LAYERS:
        raise ModelRefused(f"{reason}: it has {quantity(len(arrays), 'array')}")
    inputs = _INPUTS
    for matrix, bias in zip(arrays[::2], arrays[1::2], strict=True):
        sizes = tuple(matrix.shape)
        if bias.ndim != 1 or sizes != (inputs, len(bias)):
            raise ModelRefused(f"{reason}: a layer has the shape {sizes}")
        if not 1 <= sizes[1] <= _WIDEST:
            raise ModelRefused(f"{reason}: a layer is {sizes[1]} wide")
        if matrix.dtype != np.dtype("<f2") or bias.dtype != np.dtype("<f4"):
            raise ModelRefused(f"{reason}: a layer has the type {matrix.dtype}")
        if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
            raise ModelRefused(f"{reason}: a number is not finite")
        inputs = sizes[1]
    if inputs != 1:
        raise ModelRefused(f"{reason}: it has {quantity(inputs, 'output')}")


class StudentHead:
    """A student head on one window after the other, or on many windows of a recording.

    Implements ``streaming.Head`` and ``batch.ManyHead``. Not safe for use by several threads.
    """

    def __init__(self, weights: StudentHeadWeights) -> None:
        """Allocate the buffers.

        Args:
            weights: the layers.
        """
        self._weights = weights
        self._outputs = tuple(np.zeros(len(bias), np.float32) for bias in weights.biases)
        self._layers = tuple(zip(weights.matrices, weights.biases, self._outputs, strict=True))
        self._score = np.zeros(1, np.float32)

    def score(self, window: Floats) -> Floats:
        """See ``Head.score``."""
        values = window.reshape(-1)
        for matrix, bias, out in self._layers:
            np.dot(values, matrix, out=out)
            np.add(out, bias, out=out)
            values = np.maximum(out, 0)
        self._score[0] = 1 / (1 + math.exp(-max(float(out[0]), _LOWEST_LOGIT)))
        return self._score

    def wipe(self) -> None:
        """See ``Head.wipe``."""
        for out in (*self._outputs, self._score):
            out[:] = 0

    def over(self, embeddings: Floats) -> "StudentScorer":
        """See ``ManyHead.over``."""
        return StudentScorer(self._weights, embeddings)


class StudentScorer:
    """A student head bound to a buffer of embeddings; implements ``batch.Scorer``."""

    def __init__(self, weights: StudentHeadWeights, embeddings: Floats) -> None:
        """Bind the weights.

        Args:
            weights: the layers.
            embeddings: float32, shape (rows, 96), contiguous; not reallocated.
        """
        self._weights = weights
        windows = np.lib.stride_tricks.sliding_window_view(
            embeddings, STUDENT_WINDOW_FRAMES, axis=0
        )
        self._windows = windows.transpose(0, 2, 1)

    def score(self, first_end: int, last_end: int) -> Floats:
        """See ``Scorer.score``."""
        first = first_end - STUDENT_WINDOW_FRAMES
        chosen = self._windows[first : last_end - STUDENT_WINDOW_FRAMES + 1]
        values: Floats = chosen.reshape(len(chosen), _INPUTS)
        logits = values
        for matrix, bias in zip(self._weights.matrices, self._weights.biases, strict=True):
            logits = values @ matrix + bias
            values = np.maximum(logits, 0)
        scores = 1 / (1 + np.exp(-np.maximum(logits, _LOWEST_LOGIT)))
        return scores.astype(np.float32)
