"""The student of the embedding network: a small causal network that approximates embeddings.

A dense layer takes the 8 mel frames of a step; convolutions over the last steps follow, each added
to its input; a dense layer gives the 96 numbers. ``docs/decisions/0073`` gives the reasons and
``models/first-stage/card.md`` the figures. Everything is numpy: a step costs less than a call of
onnxruntime, and buffers are allocated once, so that no copy of a feature is freed without being
overwritten.

The file of weights is a sequence of arrays in numpy's ``.npy`` format: 16-bit matrices and 32-bit
biases, layer by layer.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from listener.errors import ModelRefused
from listener.quantities import quantity
from listener.wakeword.embedding import FEATURES, RECEPTIVE_FRAMES, STEP_FRAMES
from listener.wakeword.features import BANDS, Floats

INPUTS: Final = STEP_FRAMES * BANDS
"""Inputs of a step: its mel frames."""
LONGEST_CONTEXT_STEPS: Final = -(-RECEPTIVE_FRAMES // STEP_FRAMES)
"""Steps of 80 ms that an embedding may depend on: those of the embedding network."""
_WIDEST: Final = 1024
_MOST_LAYERS: Final = 8


@dataclass(frozen=True, slots=True)
class StudentWeights:
    """The weights of a student, float32."""

    first: Floats
    """Shape (256, width)."""
    first_bias: Floats
    """Shape (width,)."""
    convolutions: tuple[Floats, ...]
    """One for each layer, shape (taps, width, width), the oldest step first."""
    biases: tuple[Floats, ...]
    """One for each convolution, shape (width,)."""
    last: Floats
    """Shape (width, 96)."""
    last_bias: Floats
    """Shape (96,)."""

    @property
    def context_steps(self) -> int:
        """Steps that an embedding depends on, 80 ms apart."""
        return 1 + sum(len(kernel) - 1 for kernel in self.convolutions)

    @property
    def multiplications(self) -> int:
        """Multiplications of a step."""
        return sum(matrix.size for matrix in (self.first, *self.convolutions, self.last))


def read_weights(data: bytes, name: str) -> StudentWeights:
    """Read a file of weights.

    Args:
        data: any bytes are safe.
        name: name of the model for messages.

    Raises:
        ModelRefused: the bytes are not the weights of a student.
    """
    arrays = read_arrays(data, name, 2 * _MOST_LAYERS + 4)
    _check(arrays, name)
    matrices, biases = arrays[::2], arrays[1::2]
    whole = [np.ascontiguousarray(array, np.float32) for array in matrices]
    offsets = [np.ascontiguousarray(array, np.float32) for array in biases]
    return StudentWeights(
        whole[0], offsets[0], tuple(whole[1:-1]), tuple(offsets[1:-1]), whole[-1], offsets[-1]
    )


def read_arrays(data: bytes, name: str, most: int) -> list[Any]:
    """Return the arrays of a file of weights; their shapes and types are not checked.

    Args:
        data: any bytes are safe.
        name: name for messages.
        most: arrays; one more is read of a longer file, so that it can be refused.

    Raises:
        ModelRefused: the bytes are not a sequence of numpy arrays.
    """
    arrays: list[Any] = []
    stream = io.BytesIO(data)
    try:
        while stream.tell() < len(data) and len(arrays) <= most:
            # Not numpy.load, which takes archives, too, and loads zipfile for them.
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    except Exception as error:  # the parser of headers raises many kinds, by version
        raise ModelRefused(f"{name} is not a sequence of numpy arrays: {error}") from error
    return arrays


def write_weights(weights: StudentWeights) -> bytes:
    """Return the file of weights; matrices are rounded to 16 bits."""
    matrices = (weights.first, *weights.convolutions, weights.last)
    biases = (weights.first_bias, *weights.biases, weights.last_bias)
    return write_layers(matrices, biases)


def write_layers(matrices: Sequence[Floats], biases: Sequence[Floats]) -> bytes:
    """Return a file of layers: of each its matrix, rounded to 16 bits, and its bias."""
    stream = io.BytesIO()
    for matrix, bias in zip(matrices, biases, strict=True):
        np.save(stream, matrix.astype("<f2"))
        np.save(stream, bias.astype("<f4"))
    return stream.getvalue()


def _check(arrays: list[Any], name: str) -> None:
    """Raise unless the arrays are the layers of a student."""
    reason = f"{name} is not the weights of a student of the embedding network"
    if len(arrays) < 4 or len(arrays) % 2 or len(arrays) > 2 * _MOST_LAYERS + 4:  # noqa: PLR2004 - the first and the last layer
        raise ModelRefused(f"{reason}: it has {len(arrays)} arrays")
    width = arrays[1].shape[0] if arrays[1].ndim == 1 else 0
    expected = [(INPUTS, width), *[(None, width, width)] * (len(arrays) // 2 - 2)]
    expected.append((width, FEATURES))
    if not 1 <= width <= _WIDEST:
        raise ModelRefused(f"{reason}: its width is {width}")
    taps = 0
    for matrix, bias, shape in zip(arrays[::2], arrays[1::2], expected, strict=True):
        sizes = tuple(matrix.shape)
        wanted = tuple(
            size if want is None else want for size, want in zip(sizes, shape, strict=False)
        )
        if len(sizes) != len(shape) or sizes != wanted or bias.shape != (sizes[-1],):
            raise ModelRefused(f"{reason}: a layer has the shape {sizes}")
        if matrix.dtype != np.dtype("<f2") or bias.dtype != np.dtype("<f4"):
            raise ModelRefused(f"{reason}: a layer has the type {matrix.dtype}")
        taps += sizes[0] - 1 if len(sizes) == 3 else 0  # noqa: PLR2004 - taps, inputs, outputs
        if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
            raise ModelRefused(f"{reason}: a number is not finite")
    if not 0 <= taps < LONGEST_CONTEXT_STEPS:
        raise ModelRefused(f"{reason}: it depends on {quantity(taps + 1, 'step')}")


class StudentNet:
    """The student at one step after the other.

    Implements ``wakeword.embedding.Network``. Not safe for use by several threads.
    """

    def __init__(self, weights: StudentWeights, hop_frames: int) -> None:
        """Allocate the buffers.

        Args:
            weights: the layers.
            hop_frames: mel frames in a step, 8 or 4. With 4, each of two phases takes every second
                step, as in the embedding network.
        """
        self.hop_frames: int = hop_frames
        """Mel frames in a step."""
        width = len(weights.first_bias)
        phases = STEP_FRAMES // hop_frames
        self._weights = weights
        self._phases = phases
        # The mel frames of the step before, where steps overlap, then those of two new ones.
        self._mel = np.zeros((phases + 1, hop_frames * BANDS), np.float32)
        self._old, self._new = self._mel[: phases - 1], self._mel[phases - 1 :]
        self._latest = tuple(self._new[count - 1 : count][: phases - 1] for count in (1, 2))
        inputs = self._mel.reshape(-1)
        size = hop_frames * BANDS
        self._inputs = tuple(inputs[first : first + INPUTS] for first in (0, size))
        # Each output of a layer is written twice, so that the last steps are contiguous.
        self._rings = tuple(
            np.zeros((phases, 2, len(kernel), width), np.float32) for kernel in weights.convolutions
        )
        # Views are made once: making one costs as much as adding 160 numbers.
        self._layers = tuple(
            (
                kernel.reshape(-1, width),
                bias,
                tuple(_places(ring) for ring in rings),
                tuple(_windows(ring) for ring in rings),
            )
            for kernel, bias, rings in zip(
                weights.convolutions, weights.biases, self._rings, strict=True
            )
        )
        self._slots = [[0] * phases for _ in self._rings]
        self._hidden = np.zeros((2, width), np.float32)
        self._sum = np.zeros((2, width), np.float32)
        self._result = np.zeros((2, FEATURES), np.float32)
        self._buffers = tuple(
            (
                self._hidden[:count],
                self._sum[:count],
                self._result[:count],
                tuple(zip(self._hidden, self._sum, self._result, strict=True))[:count],
            )
            for count in (1, 2)
        )
        self._phase = 0

    def step(self, mel: Floats) -> Floats:
        """See ``Network.step``."""
        np.copyto(self._new[0], mel.reshape(-1))
        embedding: Floats = self._run(1)[0]
        return embedding

    def steps(self, mels: Sequence[Floats]) -> Iterator[Floats]:
        """See ``Network.steps``."""
        return map(self.step, mels)

    def pair(self, mel: Floats) -> Floats:
        """Take two steps at once, for two thirds of the time.

        Args:
            mel: float32, shape (2 * hop_frames, 32).

        Returns:
            float32, shape (2, 96), the older first; valid until the next step.
        """
        np.copyto(self._new, mel.reshape(2, -1))
        return self._run(2)

    def _run(self, count: int) -> Floats:
        """Take the new mel frames of one step or two, layer by layer; return the embeddings."""
        weights = self._weights
        hidden, total, result, rows = self._buffers[count - 1]
        for inputs, (row, _, _) in zip(self._inputs, rows, strict=False):
            np.dot(inputs, weights.first, out=row)
        np.copyto(self._old, self._latest[count - 1])
        hidden += weights.first_bias
        np.maximum(hidden, 0, out=hidden)
        phase = self._phase
        for (kernel, bias, places, windows), slots in zip(self._layers, self._slots, strict=True):
            for row, out, _ in rows:
                slot = slots[phase]
                np.copyto(places[phase][slot], row)
                slots[phase] = slot = (slot + 1) % len(places[phase])
                np.dot(windows[phase][slot], kernel, out=out)
                phase = (phase + 1) % self._phases
            phase = self._phase
            np.add(total, bias, out=total)
            np.maximum(total, 0, out=total)
            np.add(hidden, total, out=hidden)
        self._phase = (phase + count) % self._phases
        for row, _, out in rows:
            np.dot(row, weights.last, out=out)
        result += weights.last_bias
        return result

    def state(self) -> tuple[Any, ...]:
        """See ``Network.state``."""
        rings = tuple(ring.copy() for ring in self._rings)
        return self._mel.copy(), rings, [slots.copy() for slots in self._slots], self._phase

    def resume(self, state: tuple[Any, ...]) -> None:
        """See ``Network.resume``."""
        mel, rings, slots, self._phase = state
        np.copyto(self._mel, mel)
        self._slots = [each.copy() for each in slots]
        for ring, start in zip(self._rings, rings, strict=True):
            np.copyto(ring, start)
        for buffer in (self._hidden, self._sum, self._result):
            buffer[:] = 0


def _places(ring: Floats) -> tuple[Floats, ...]:
    """Return the two places of each slot of a ring, shape (2, width)."""
    return tuple(ring.transpose(1, 0, 2))


def _windows(ring: Floats) -> tuple[Floats, ...]:
    """Return the last steps, oldest first, for each slot that is written next, shape (n,)."""
    flat = ring.reshape(-1)
    taps, width = ring.shape[1:]
    return tuple(flat[slot * width : (slot + taps) * width] for slot in range(taps))


class LongStudent:
    """The student at many steps of 80 ms at once.

    Implements ``wakeword.batch.LongNetwork``. Not safe for use by several threads.
    """

    def __init__(self, weights: StudentWeights) -> None:
        """Begin with silent inputs.

        Args:
            weights: the layers.
        """
        self._weights = weights
        width = len(weights.first_bias)
        self._past = tuple(
            np.zeros((len(kernel) - 1, width), np.float32) for kernel in weights.convolutions
        )

    def steps(self, mel: Floats) -> Floats:
        """See ``LongNetwork.steps``."""
        weights = self._weights
        hidden = np.maximum(mel.reshape(-1, INPUTS) @ weights.first + weights.first_bias, 0)
        kept = []
        for kernel, bias, past in zip(
            weights.convolutions, weights.biases, self._past, strict=True
        ):
            both = np.concatenate([past, hidden])
            kept.append(both[len(both) - len(past) :].copy())
            total = np.tile(bias, (len(hidden), 1))
            for tap, matrix in enumerate(kernel):
                total += both[tap : tap + len(hidden)] @ matrix
            hidden += np.maximum(total, 0)
        self._past = tuple(kept)
        embeddings: Floats = hidden @ weights.last + weights.last_bias
        return embeddings

    def state(self) -> tuple[Floats, ...]:
        """See ``LongNetwork.state``."""
        return self._past

    def resume(self, state: tuple[Floats, ...]) -> None:
        """See ``LongNetwork.resume``."""
        self._past = state
