"""The networks that openWakeWord ships, read and checked.

What ``convert.py`` makes of them holds for their layers and for no others, so that a network with
others is refused. Needs ``onnx``, which no device does.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from listener.errors import ModelRefused

Floats = NDArray[np.float32]

MEL_BANDS: Final = 32
BINS: Final = slice(2, 122)
"""62.5 to 3781 Hz: the only bins of the spectrum with a weight."""

CHANNELS: Final = (24,) * 3 + (48,) * 4 + (72,) * 4 + (96,) * 9
"""Outputs of each convolution."""
POOLS: Final = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
"""After which convolution, over how many columns of time and rows of frequency."""
ALPHA: Final = 0.2
"""Slope of each LeakyRelu below zero."""
FLOOR: Final = -0.4
"""What comes after a LeakyRelu is never lower."""

_WINDOW_FRAMES: Final = 76
_TIME_TAPS: Final = (3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 3)
_MEL_OPS: Final = (
    "Constant Unsqueeze Conv Conv Constant Unsqueeze Transpose Constant Unsqueeze Transpose"
    " Constant Pow Constant Pow Add MatMul Clip Log Constant Mul Constant Div Constant Sub"
    " ReduceMax Constant Sub Cast Clip"
)


@dataclass(frozen=True, slots=True)
class Network:
    """The weights of the embedding network, in the order of its layers."""

    kernels: tuple[Floats, ...]
    """20 arrays, shape (outputs, inputs, time, frequency)."""
    biases: tuple[Floats | None, ...]
    """One for each kernel; none for the first and the last."""
    shift: Floats
    """What the one batch normalisation adds; its scale is folded into the first kernel."""


def read_network(data: bytes) -> Network:
    """Read openWakeWord's ``embedding_model.onnx``.

    Raises:
        ModelRefused: it is not the network that can be made to stream; the message says where it
            differs.
    """
    graph = _graph(data, "the embedding network")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = list(graph.node)
    _check(
        [node.op_type for node in nodes] == _expected_ops(),
        f"the embedding network has other layers than expected ({len(nodes)} operators)",
    )
    source = graph.input[0].name
    for node in nodes:
        _check(node.input[0] == source, f"{node.op_type} does not follow the layer before it")
        source = node.output[0]
    _check(_is(values[nodes[0].input[1]], [0, 0, 1, 0, 0, 0, 1, 0]), "other padding of the input")
    _check(_is(values[nodes[1].input[1]], [-1, 1, _WINDOW_FRAMES, MEL_BANDS + 2]), "other input")
    _check(_is(values[nodes[-1].input[1]], [-1, 1, 1, CHANNELS[-1]]), "other output")
    kernels: list[Floats] = []
    biases: list[Floats | None] = []
    shift = np.zeros(CHANNELS[0], np.float32)
    scale = np.ones(CHANNELS[0])
    for node in nodes[2:-1]:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type:
            case "Conv":
                kernel = values[node.input[1]]
                _check_convolution(len(kernels), kernel, attributes)
                kernels.append(kernel)
                biases.append(values[node.input[2]] if len(node.input) > 2 else None)  # noqa: PLR2004 - a third input is the bias
            case "BatchNormalization":
                parts = [values[name].astype(np.float64) for name in node.input[1:]]
                gain, offset, mean, variance = parts
                scale = gain / np.sqrt(variance + attributes["epsilon"])
                shift = (offset - mean * scale).astype(np.float32)
            case "LeakyRelu":
                _check(abs(attributes["alpha"] - ALPHA) < 1e-7, "another slope of LeakyRelu")  # noqa: PLR2004 - one float32 step
            case "Max":
                _check(_is(values[node.input[1]].ravel(), [np.float32(FLOOR)]), "another floor")
            case "MaxPool":
                pool = list(POOLS[len(kernels) - 1])
                _check(
                    {"pads": [0, 0, 0, 0]} | attributes
                    == {"strides": pool, "kernel_shape": pool, "pads": [0, 0, 0, 0]},
                    f"another pool after convolution {len(kernels) - 1}",
                )
            case _:
                pass
    # relu(z) * s == relu(z * s) only where s is positive; the shift comes after the relu and the
    # next convolution pads with zeros, so it cannot be folded.
    _check(bool((scale > 0).all()), "a batch normalisation with a scale that is not positive")
    kernels[0] = (kernels[0] * scale[:, None, None, None]).astype(np.float32)
    return Network(tuple(kernels), tuple(biases), shift)


def read_mel(data: bytes) -> Floats:
    """Read openWakeWord's ``melspectrogram.onnx``.

    Returns:
        The weights of the mel bands, float32, shape (120, 32), for the bins ``BINS``.

    Raises:
        ModelRefused: it computes something else than ``listener/wakeword/features.py`` does.
    """
    graph = _graph(data, "the mel front end")
    ops = " ".join(node.op_type for node in graph.node)
    _check(ops == _MEL_OPS, "the mel front end has other operators than expected")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = values["1.melW"]
    _check(weights.shape == (257, MEL_BANDS), "other mel bands")
    outside = np.delete(weights, np.arange(257)[BINS], axis=0)
    _check(not outside.any(), "mel bands with weight where we do not look")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    turn = 2 * np.pi * np.outer(np.arange(257), np.arange(512)) / 512
    for name, wave in (("real", np.cos(turn)), ("imag", -np.sin(turn))):
        kernel = values[f"0.stft.conv_{name}.weight"]
        _check(kernel.shape == (257, 1, 512), "another length of the Fourier transform")
        _check(float(np.abs(kernel[:, 0] - wave * window).max()) < 1e-6, "another window")  # noqa: PLR2004 - float32 rounding
    strides = [
        helper.get_attribute_value(a)
        for node in graph.node
        if node.op_type == "Conv"
        for a in node.attribute
        if a.name == "strides"
    ]
    _check(strides == [[160], [160]], "another step between mel frames")
    constants = [
        float(numpy_helper.to_array(node.attribute[0].t))
        for node in graph.node
        if node.op_type == "Constant" and not node.attribute[0].t.dims
    ]
    _check(
        np.allclose(constants, [2, 2, 10, np.log(10), 0, 80], rtol=1e-6),
        "another logarithm or another floor",
    )
    clip = next(node for node in graph.node if node.op_type == "Clip")
    _check(_is(values[clip.input[1]], np.float32(1e-10)), "another smallest power")
    return np.ascontiguousarray(weights[BINS])


def _graph(data: bytes, what: str) -> Any:  # noqa: ANN401 - onnx ships no types we check
    try:
        return onnx.load_from_string(data).graph
    except Exception as error:  # protobuf raises its own kinds, by version
        raise ModelRefused(f"{what} is not an ONNX file") from error


def _expected_ops() -> list[str]:
    ops = ["Pad", "Reshape"]
    for layer in range(len(_TIME_TAPS)):
        ops.append("Conv")
        ops += ["Relu", "BatchNormalization"] if layer == 0 else []
        ops += ["LeakyRelu", "Max"] if layer < len(_TIME_TAPS) - 1 else []
        ops += ["MaxPool"] if layer in POOLS else []
    return [*ops, "Reshape"]


def _check_convolution(layer: int, kernel: Floats, attributes: dict[str, Any]) -> None:
    taps = _TIME_TAPS[layer]
    width = 3 if layer == 0 or taps == 1 else 1
    shape = (CHANNELS[layer], CHANNELS[layer - 1] if layer else 1, taps, width)
    # The input itself is padded in front of the first convolution.
    pads = {"pads": [0, 1, 0, 1]} if width > 1 and layer else {}
    fixed = {"dilations": [1, 1], "strides": [1, 1], "kernel_shape": [taps, width], "group": 1}
    _check(kernel.shape == shape, f"convolution {layer} has the shape {kernel.shape}")
    _check(attributes == fixed | pads, f"convolution {layer} has other attributes")


def _is(value: Any, expected: Any) -> bool:  # noqa: ANN401 - whatever numpy compares
    return bool(np.array_equal(np.asarray(value), np.asarray(expected)))


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not holds:
        raise ModelRefused(otherwise, "only the models of openwakeword 0.4.0 can be converted")
