"""Writes a microWakeWord network as ONNX: the same integers, on many frames at once.

TensorFlow Lite computes the network in 8-bit integers, one step of three frames after the other.
Every number here is a whole one in floating point, which convolutions add exactly. TensorFlow Lite
rounds each layer twice, upwards at a half; here a line in 64 bits of floating point is rounded
down, whose offset is chosen so that every sum gives the same whole number. So the probabilities are
the same to the last bit. The columns that the original keeps from step to step are silence at the
start of a stream; here they are the padding before the first frame.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from listener.errors import ModelRefused
from listener.inference.graph import Writer
from listener.wakeword.micro_features import CHANNELS, FEATURE_SCALE
from models.microwakeword.tflite_file import CONVOLUTION, DENSE, DEPTHWISE, Layer

_LOWEST: Final = -128
_HIGHEST: Final = 127
_MULTIPLIER_BITS: Final = 31
_PROBABILITIES: Final = 256
_LARGEST_EXACT: Final = 1 << 24
"""Whole numbers up to here are exact in 32 bits of floating point, and so are their sums."""
_LEAST_MARGIN: Final = 1e-9
"""Distance of a line from a whole number at a whole sum: far above the rounding of 64 bits, with or
without a fused multiplication and addition."""


def write_network(layers: Sequence[Layer], mean_steps: int, name: str) -> bytes:
    """Return the ONNX file of a network.

    Its input is ``features``, shape (1, n, 40): the front end's whole numbers; its output is
    ``probabilities``, shape (steps - mean_steps + 1,): the mean of each ``mean_steps`` steps in a
    row, each of three frames, from the first step on.

    Args:
        layers: the layers, as `read_layers` returns them.
        mean_steps: probabilities that are averaged.
        name: name of the graph.

    Raises:
        ModelRefused: a sum of a layer could be too large to be exact.
    """
    graph = Writer()
    features = graph.input("features", [1, "frames", CHANNELS])
    x = graph.operator("Transpose", [features], perm=[0, 2, 1])
    x = graph.operator("Cast", [x], to=TensorProto.DOUBLE)
    # Divided in this order, as pymicro-wakeword does: a product of constants would round elsewhere.
    scale = graph.constant("feature_scale", np.float64(FEATURE_SCALE))
    x = graph.operator("Mul", [x, scale])
    step = graph.constant("input_scale", np.float64(layers[0].input_scale))
    x = graph.operator("Round", [graph.operator("Div", [x, step])])
    x = _clip(graph, x, "input", 0, _HIGHEST - _LOWEST)
    # Convolutions over two axes, of which one has one point: onnxruntime has faster ones for them.
    x = graph.operator("Unsqueeze", [x, graph.constant("height", np.array([2], np.int64))])
    channels = CHANNELS
    for index, layer in enumerate(layers):
        x = graph.operator("Cast", [x], to=TensorProto.FLOAT)
        x, channels = _sum(graph, x, index, layer, channels)
        x = graph.operator("Cast", [x], to=TensorProto.DOUBLE)
        lowest = 0 if layer.has_relu else _LOWEST - layer.output_zero
        highest = _HIGHEST - layer.output_zero
        slope, offset = _line(layer, lowest, highest, index)
        line = {"slope": slope, "offset": offset, "mean": 0 * slope, "variance": 0 * slope + 1}
        values = [graph.constant(f"{kind}.{index:02}", value) for kind, value in line.items()]
        x = graph.operator("BatchNormalization", [x, *values], epsilon=0.0)
        x = graph.operator("Floor", [x])
        x = _clip(graph, x, f"{index:02}", lowest, highest)
    last = layers[-1]
    x = graph.operator("Add", [x, graph.constant("zero", np.float64(last.output_zero - _LOWEST))])
    x = graph.operator("Cast", [x], to=TensorProto.INT64)
    table = graph.constant("table", _probabilities(last))
    x = graph.operator("Gather", [table, x])
    x = graph.operator("AveragePool", [x], kernel_shape=[1, mean_steps])
    axes = graph.constant("axes", np.array([0, 1, 2], np.int64))
    graph.output(graph.operator("Squeeze", [x, axes]), "probabilities", ["steps"])
    return graph.serialise(name)


def _sum(graph: Writer, x: str, index: int, layer: Layer, channels: int) -> tuple[str, int]:
    """Add the convolution of a layer; return its sums and their number of channels."""
    weights, groups = _kernel(layer, channels)
    outputs, _, taps = weights.shape
    reach = np.abs(weights).sum(axis=(1, 2)) * (_HIGHEST - _LOWEST) + np.abs(layer.bias)
    if reach.max() >= _LARGEST_EXACT:
        raise ModelRefused(f"layer {index} of the network has sums that are not exact in 32 bits")
    kernel = graph.constant(f"kernel.{index:02}", weights[:, :, None].astype(np.float32))
    bias = graph.constant(f"bias.{index:02}", layer.bias.astype(np.float32))
    sums = graph.operator(
        "Conv",
        [x, kernel, bias],
        kernel_shape=[1, taps],
        strides=[1, layer.stride],
        pads=[0, taps - layer.stride, 0, 0],
        group=groups,
    )
    return sums, outputs


def _kernel(layer: Layer, channels: int) -> tuple[NDArray[np.float64], int]:
    """Return the weights of a layer as (outputs, inputs of a group, taps), and its groups."""
    weights = layer.weights.astype(np.float64)
    if layer.operator == CONVOLUTION:
        return np.ascontiguousarray(weights[:, :, 0, :].transpose(0, 2, 1)), 1
    if layer.operator == DEPTHWISE:
        return np.ascontiguousarray(weights[0, :, 0, :].T[:, None, :]), channels
    if layer.operator == DENSE and weights.shape[1] % channels == 0:
        taps = weights.reshape(len(weights), -1, channels)
        return np.ascontiguousarray(taps.transpose(0, 2, 1)), 1
    raise ModelRefused(f"the network has a layer of {weights.shape} after {channels} channels")


def _multiplier(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the factor of each output as a 31-bit fraction and a power of two."""
    scales = np.float64(layer.input_scale) * layer.weight_scales.astype(np.float64)
    fraction, exponent = np.frexp(scales / np.float64(layer.output_scale))
    whole = np.floor(fraction * 2.0**_MULTIPLIER_BITS + 0.5)
    factor = whole / 2.0**_MULTIPLIER_BITS
    return factor, np.ldexp(1.0, exponent)


def _line(
    layer: Layer, lowest: int, highest: int, index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line for each output that, rounded down, is what TensorFlow Lite makes of a sum.

    Args:
        layer: the layer.
        lowest: lowest result that is not clipped.
        highest: highest one.
        index: number of the layer, for messages.

    Returns:
        Slopes and offsets. No whole sum is so near to a whole result that rounding matters.

    Raises:
        ModelRefused: there is no such line.
    """
    multiplier, power = (each[:, None] for each in _multiplier(layer))

    def rounded(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        once = np.floor(sums * multiplier + 0.5)
        twice: NDArray[np.float64] = np.floor(once * power + 0.5)
        return twice

    results = np.arange(lowest + 1, highest + 1, dtype=np.float64)
    # The lowest sum that gives each result, from some sums below the exact quotient.
    sums = np.floor(((results - 0.5) / power - 0.5) / multiplier) - 2
    for _ in range(4):
        sums += rounded(sums) < results
    slope = multiplier * power
    least = (results - sums * slope).max(axis=1)
    most = (results - (sums - 1) * slope).min(axis=1)
    is_exact = (rounded(sums) >= results).all() and (rounded(sums - 1) < results).all()
    if not is_exact or (most - least).min() < 2 * _LEAST_MARGIN:
        raise ModelRefused(f"no line rounds the sums of layer {index} as the network does")
    return slope[:, 0], (least + most) / 2


def _probabilities(last: Layer) -> NDArray[np.float32]:
    """Return the probability for each value of the last layer."""
    values = np.arange(_LOWEST, _HIGHEST + 1) - last.output_zero
    logits = values.astype(np.float32) * np.float32(last.output_scale)
    shares = np.float32(1) / (np.float32(1) + np.exp(-logits))
    whole = np.clip(np.floor(shares * _PROBABILITIES + 0.5), 0, _PROBABILITIES - 1)
    table: NDArray[np.float32] = (whole / _PROBABILITIES).astype(np.float32)
    return table


def _clip(graph: Writer, x: str, name: str, lowest: float, highest: float) -> str:
    bounds = [
        graph.constant(f"{kind}.{name}", np.float64(bound))
        for kind, bound in (("lowest", lowest), ("highest", highest))
    ]
    return graph.operator("Clip", [x, *bounds])
