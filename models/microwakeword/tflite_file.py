"""Reads the layers of a microWakeWord network from a TensorFlow Lite file.

The file is a FlatBuffer (https://github.com/tensorflow/tensorflow, ``schema.fbs``). Only the layers
with weights are read: what lies between them in a streaming network keeps columns from step to
step, and ``network.py`` pads instead. The package flatbuffers, which onnxruntime depends on, reads
the tables.
"""

import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from flatbuffers import encode
from flatbuffers import number_types as types
from flatbuffers.table import Table
from numpy.typing import NDArray

from listener.errors import ModelRefused

Reader: TypeAlias = Any  # flatbuffers ships no types; this is its Table

CONVOLUTION: Final = 3
DEPTHWISE: Final = 4
DENSE: Final = 9
_READ: Final = {CONVOLUTION: 3, DEPTHWISE: 4, DENSE: 0}
"""Operators with weights, and the field of their activation."""
_BETWEEN: Final = {2, 14, 22, 45, 114, 129, 142, 143, 144}
"""Operators that keep columns, reshape, and turn the last number into a probability."""
_RELU: Final = 1
_STRIDE_FIELD: Final = 2
_WEIGHT_SHAPE_AXES: Final = (2, 4)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in 8-bit integers; a value stands for the number ``(value - zero) * scale``."""

    operator: int
    """``CONVOLUTION``, ``DEPTHWISE`` or ``DENSE``."""
    weights: NDArray[np.int8]
    """Convolution: outputs, taps, 1, inputs. Depthwise: 1, taps, 1, channels. Dense: 1, inputs."""
    bias: NDArray[np.int32]
    """One for each output, in units of the product of both scales."""
    stride: int
    has_relu: bool
    input_scale: float
    input_zero: int
    weight_scales: NDArray[np.float32]
    """One for each output, or one for all."""
    output_scale: float
    output_zero: int


def read_layers(data: bytes) -> tuple[Layer, ...]:
    """Return the layers of a network in the order of their computation.

    Args:
        data: content of a file whose hash is known; any bytes are safe.

    Raises:
        ModelRefused: it is not a network of this form.
    """
    try:
        return tuple(_layers(data))
    except ModelRefused:
        raise
    # What the reader of tables raises of a damaged file is not limited to a list of classes.
    except Exception as error:
        raise ModelRefused(f"the network cannot be read: {error}") from error


def _layers(data: bytes) -> list[Layer]:
    model = Table(data, encode.Get(types.UOffsetTFlags.packer_type, data, 0))
    operators = [max(_number(code, 0, "b"), _number(code, 3, "i")) for code in _tables(model, 1)]
    buffers = _tables(model, 4)
    graph = _tables(model, 2)[0]
    tensors = _tables(graph, 0)
    layers = []
    for node in _tables(graph, 3):
        operator = operators[_number(node, 0, "I")]
        if operator in _BETWEEN:
            continue
        if operator not in _READ:
            raise ModelRefused(f"the network has an operator {operator}, which is not known")
        source, weights, bias = (tensors[index] for index in _array(node, 1, "<i4"))
        (result,) = (tensors[index] for index in _array(node, 2, "<i4"))
        options = _table(node, 4)
        shape = tuple(int(axis) for axis in _array(weights, 0, "<i4"))
        if len(shape) not in _WEIGHT_SHAPE_AXES:
            raise ModelRefused(f"the network has weights of the shape {shape}")
        layers.append(
            Layer(
                operator,
                _content(buffers, weights, "i1").reshape(shape),
                _content(buffers, bias, "<i4"),
                _number(options, _STRIDE_FIELD, "i") if operator == CONVOLUTION else 1,
                _number(options, _READ[operator], "b") == _RELU,
                *_scale(source),
                _array(_table(weights, 4), 2, "<f4"),
                *_scale(result),
            )
        )
    return layers


def _scale(tensor: Reader) -> tuple[float, int]:
    """Return the scale and the zero of a tensor."""
    quantisation = _table(tensor, 4)
    (scale,), (zero,) = _array(quantisation, 2, "<f4"), _array(quantisation, 3, "<i8")
    return float(scale), int(zero)


def _content(buffers: list[Reader], tensor: Reader, kind: str) -> NDArray[Any]:
    return _array(buffers[_number(tensor, 2, "I")], 0, "u1").view(kind)


def _place(table: Reader, field: int) -> int:
    """Return the place of a field in the file; 0 if it is absent."""
    offset = table.Offset(4 + 2 * field)
    return int(offset + table.Pos) if offset else 0


def _number(table: Reader, field: int, kind: str) -> int:
    place = _place(table, field)
    return int(struct.unpack_from("<" + kind, table.Bytes, place)[0]) if place else 0


def _table(table: Reader, field: int) -> Reader:
    return Table(table.Bytes, table.Indirect(_place(table, field)))


def _tables(table: Reader, field: int) -> list[Reader]:
    offset = table.Offset(4 + 2 * field)
    first, count = table.Vector(offset), table.VectorLen(offset)
    return [Table(table.Bytes, table.Indirect(first + 4 * index)) for index in range(count)]


def _array(table: Reader, field: int, kind: str) -> NDArray[Any]:
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return np.zeros(0, kind)
    return np.frombuffer(table.Bytes, kind, table.VectorLen(offset), table.Vector(offset))
