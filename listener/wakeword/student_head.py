"""Small heads for the student's embeddings: whether a word may have been said.

A student head is a dense network of three layers over the last 16 embeddings of the student, with
one output. It is trained to tell the word from all other sound, and takes fewer multiplications
than the wake word's own head. ``docs/decisions/0073`` gives the reasons.

The file of weights is a sequence of arrays as that of the student: 16-bit matrices and 32-bit
biases, layer by layer.
"""

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
_LAYERS: Final = 3
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
    arrays = read_arrays(data, name, 2 * _LAYERS)
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
    if len(arrays) != 2 * _LAYERS:
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


class StudentHeads:
    """The student heads of several words, with one output each, on one window after the other.

    Their layers are joined, so that each window takes as many products of matrices as one head.
    Implements ``streaming.Head`` and ``batch.ManyHead``. Not safe for use by several threads.
    """

    def __init__(self, heads: Sequence[StudentHeadWeights]) -> None:
        """Join the layers, and allocate the buffers.

        Args:
            heads: the weights of each word, at least one, in the order of the outputs.
        """
        self._layers = _Layers(heads)

    def score(self, window: Floats) -> Floats:
        """See ``Head.score``: float32, shape (heads,)."""
        scores: Floats = self._layers.run(window.reshape(1, _INPUTS))[0]
        return scores

    def wipe(self) -> None:
        """See ``Head.wipe``."""
        self._layers.wipe()

    def over(self, embeddings: Floats) -> "StudentScorer":
        """See ``ManyHead.over``."""
        return StudentScorer(self._layers, embeddings)


class StudentScorer:
    """Student heads bound to a buffer of embeddings; implements ``batch.Scorer``."""

    def __init__(self, layers: "_Layers", embeddings: Floats) -> None:
        """Bind the layers.

        Args:
            layers: of the heads.
            embeddings: float32, shape (rows, 96), contiguous; not reallocated.
        """
        self._layers = layers
        windows = np.lib.stride_tricks.sliding_window_view(
            embeddings, STUDENT_WINDOW_FRAMES, axis=0
        )
        self._windows = windows.transpose(0, 2, 1)

    def score(self, first_end: int, last_end: int) -> Floats:
        """See ``Scorer.score``."""
        first = first_end - STUDENT_WINDOW_FRAMES
        chosen = self._windows[first : last_end - STUDENT_WINDOW_FRAMES + 1]
        return self._layers.run(chosen.reshape(len(chosen), _INPUTS))


class _Layers:
    """The layers of several heads. Narrower ones are filled with units that give 0."""

    def __init__(self, heads: Sequence[StudentHeadWeights]) -> None:
        first, second = (
            max(len(head.biases[layer]) for head in heads) for layer in range(_LAYERS - 1)
        )
        count = len(heads)
        inputs = np.zeros((_INPUTS, count, first), np.float32)
        inputs_bias = np.zeros((count, first), np.float32)
        self._middle = np.zeros((count, first, second), np.float32)
        self._middle_bias = np.zeros((count, 1, second), np.float32)
        self._last = np.zeros((count, second, 1), np.float32)
        self._last_bias = np.array([head.biases[-1] for head in heads], np.float32).reshape(-1, 1)
        for number, head in enumerate(heads):
            wide, narrow = (len(bias) for bias in head.biases[:-1])
            inputs[:, number, :wide] = head.matrices[0]
            inputs_bias[number, :wide] = head.biases[0]
            self._middle[number, :wide, :narrow] = head.matrices[1]
            self._middle_bias[number, 0, :narrow] = head.biases[1]
            self._last[number, :narrow] = head.matrices[2]
        self._inputs = inputs.reshape(_INPUTS, -1)
        self._inputs_bias = inputs_bias.reshape(-1)
        self._shape = (count, first)
        self._one = np.zeros((1, count * first), np.float32)
        self._one_second = np.zeros((count, 1, second), np.float32)
        self._one_last = np.zeros((count, 1, 1), np.float32)
        self._score = np.zeros((1, count), np.float32)

    def wipe(self) -> None:
        """Overwrite what single windows left."""
        for buffer in (self._one, self._one_second, self._one_last, self._score):
            buffer[:] = 0

    def run(self, windows: Floats) -> Floats:
        """Return the scores of windows, shape (n, heads); of one window until the next call.

        Args:
            windows: float32, shape (n, 1536).
        """
        count = len(windows)
        is_one = count == 1
        units = np.dot(windows, self._inputs, out=self._one if is_one else None)
        units += self._inputs_bias
        np.maximum(units, 0, out=units)
        # By head: shape (heads, n, units).
        joined = units.reshape(count, *self._shape).transpose(1, 0, 2)
        second = np.matmul(joined, self._middle, out=self._one_second if is_one else None)
        second += self._middle_bias
        np.maximum(second, 0, out=second)
        last = np.matmul(second, self._last, out=self._one_last if is_one else None)
        logits = last[:, :, 0].T
        logits += self._last_bias[:, 0]
        np.maximum(logits, _LOWEST_LOGIT, out=logits)
        scores = np.negative(logits, out=self._score if is_one else None)
        np.exp(scores, out=scores)
        scores += 1
        np.reciprocal(scores, out=scores)
        return scores
