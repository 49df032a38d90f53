"""The network CAM++, written node by node as an ONNX file.

Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware
Masking" (2023); the sizes of the layers are those of 3D-Speaker. Two changes are exact in real
arithmetic: a batch normalisation after a convolution is folded into it, and the mask of a layer is
computed once for each segment of 100 frames, not for each frame of it. Needs ``onnx``.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.inference.graph import Writer
from models.campplus.torch_file import Tensor

BANDS: Final = 80
DIMENSIONS: Final = 192

_HEAD_CHANNELS: Final = 32
_BLOCKS: Final = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each densely connected block."""
_KERNEL: Final = 3
_SEGMENT_FRAMES: Final = 100
_EPSILON: Final = 1e-5
_STRIDES: Final = {"layer1.0": 2, "layer1.1": 1, "layer2.0": 2, "layer2.1": 1}
_SMALL: Final = 4096
"""Weights of at most so many numbers are always stored in 32 bits."""
_PRECISE: Final = ("head.", "xvector.tdnn.")
"""The first layers, 4 % of the weights, are always stored in 32 bits: rounding them causes more
than half of the difference of embeddings, and most of it in clips of 0.5 s."""


def fold(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Return the weights of the network as `write_network` takes them.

    Args:
        tensors: state of 3D-Speaker's network, by name.

    Raises:
        KeyError: a tensor is missing.
    """
    folded: dict[str, NDArray[np.float32]] = {}

    def convolution(name: str, norm: str | None = None) -> None:
        kernel = tensors[f"{name}.weight"].astype(np.float64)
        bias = tensors.get(f"{name}.bias")
        if norm is not None:
            scale, shift = _affine(tensors, norm)
            kernel *= scale.reshape(-1, *[1] * (kernel.ndim - 1))
            bias = shift if bias is None else bias * scale + shift
        folded[f"{name}.weight"] = kernel.astype(np.float32)
        if bias is not None:
            folded[f"{name}.bias"] = bias.astype(np.float32)

    def normalisation(name: str) -> None:
        scale, shift = _affine(tensors, name)
        folded[f"{name}.scale"] = scale.astype(np.float32)
        folded[f"{name}.shift"] = shift.astype(np.float32)

    convolution("head.conv1", "head.bn1")
    convolution("head.conv2", "head.bn2")
    for block, stride in _STRIDES.items():
        convolution(f"head.{block}.conv1", f"head.{block}.bn1")
        convolution(f"head.{block}.conv2", f"head.{block}.bn2")
        if stride > 1:
            convolution(f"head.{block}.shortcut.0", f"head.{block}.shortcut.1")
    convolution("xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
    for number, (layers, _) in enumerate(_BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{number}.tdnnd{layer}"
            normalisation(f"{name}.nonlinear1.batchnorm")
            convolution(f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
            for part in ("linear_local", "linear1", "linear2"):
                convolution(f"{name}.cam_layer.{part}")
        normalisation(f"xvector.transit{number}.nonlinear.batchnorm")
        convolution(f"xvector.transit{number}.linear")
    normalisation("xvector.out_nonlinear.batchnorm")
    convolution("xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")
    return folded


def write_network(weights: Mapping[str, NDArray[np.float32]], *, is_half: bool) -> bytes:
    """Write the network: from ``filterbank``, (1, frames, 80), to ``embedding``, (1, 192).

    The embedding is not of length 1.

    Args:
        weights: as `fold` returns them.
        is_half: store large weights in 16 bits; the network computes in 32 bits all the same.
    """
    return _NetworkWriter(weights, is_half=is_half).write()


def _affine(tensors: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """Return the scale and the shift of a batch normalisation, in 64 bits."""
    mean, variance = (
        tensors[f"{norm}.running_{statistic}"].astype(np.float64) for statistic in ("mean", "var")
    )
    # The last normalisation of the network has neither.
    gain = tensors.get(f"{norm}.weight", np.ones_like(mean)).astype(np.float64)
    offset = tensors.get(f"{norm}.bias", np.zeros_like(mean)).astype(np.float64)
    scale = gain / np.sqrt(variance + _EPSILON)
    return scale, offset - mean * scale


class _NetworkWriter:
    def __init__(self, weights: Mapping[str, NDArray[np.float32]], *, is_half: bool) -> None:
        self._weights = weights
        self._is_half = is_half
        self._graph = Writer()
        self._zero, self._one, self._last_axis = (
            self._integers(name, value) for name, value in (("zero", 0), ("one", 1), ("last", -1))
        )

    def write(self) -> bytes:
        graph = self._graph
        x = graph.input("filterbank", [1, "frames", BANDS])
        x = graph.operator("Transpose", [x], perm=[0, 2, 1])
        x = self._head(graph.operator("Unsqueeze", [x, self._one]))
        flat = graph.constant("flat", np.array([1, _HEAD_CHANNELS * BANDS // 8, -1], np.int64))
        x = graph.operator("Reshape", [x, flat])
        x = self._convolution(x, "xvector.tdnn.linear", strides=[2], pads=[2, 2])
        x = graph.operator("Relu", [x])
        frames = self._frames(x)
        for number, (layers, dilation) in enumerate(_BLOCKS, 1):
            for layer in range(1, layers + 1):
                name = f"xvector.block{number}.tdnnd{layer}"
                new = self._layer(x, name, dilation, frames)
                x = graph.operator("Concat", [x, new], axis=1)
            x = self._normalisation(x, f"xvector.transit{number}.nonlinear.batchnorm")
            x = self._convolution(x, f"xvector.transit{number}.linear")
        x = self._normalisation(x, "xvector.out_nonlinear.batchnorm")
        x = self._convolution(self._statistics(x, frames), "xvector.dense.linear")
        shape = graph.constant("shape", np.array([1, DIMENSIONS], np.int64))
        graph.output(graph.operator("Reshape", [x, shape]), "embedding", [1, DIMENSIONS])
        return graph.serialise("campplus")

    def _head(self, x: str) -> str:
        graph = self._graph
        x = graph.operator("Relu", [self._convolution(x, "head.conv1", pads=[1] * 4)])
        for block, stride in _STRIDES.items():
            steps = [stride, 1]
            y = self._convolution(x, f"head.{block}.conv1", strides=steps, pads=[1] * 4)
            y = graph.operator("Relu", [y])
            y = self._convolution(y, f"head.{block}.conv2", pads=[1] * 4)
            if stride > 1:
                x = self._convolution(x, f"head.{block}.shortcut.0", strides=steps)
            x = graph.operator("Relu", [graph.operator("Add", [y, x])])
        x = self._convolution(x, "head.conv2", strides=[2, 1], pads=[1] * 4)
        return graph.operator("Relu", [x])

    def _layer(self, x: str, name: str, dilation: int, frames: str) -> str:
        """Add a densely connected layer with its context-aware mask."""
        graph = self._graph
        x = self._normalisation(x, f"{name}.nonlinear1.batchnorm")
        x = graph.operator("Relu", [self._convolution(x, f"{name}.linear1")])
        pads = [(_KERNEL - 1) // 2 * dilation] * 2
        y = self._convolution(x, f"{name}.cam_layer.linear_local", dilations=[dilation], pads=pads)
        context = graph.operator(
            "Add",
            [
                graph.operator("ReduceMean", [x], axes=[-1], keepdims=1),
                graph.operator(
                    "AveragePool",
                    [x],
                    kernel_shape=[_SEGMENT_FRAMES],
                    strides=[_SEGMENT_FRAMES],
                    ceil_mode=1,
                ),
            ],
        )
        context = self._convolution(context, f"{name}.cam_layer.linear1")
        context = graph.operator("Relu", [context])
        context = self._convolution(context, f"{name}.cam_layer.linear2")
        mask = graph.operator("Sigmoid", [context])
        return graph.operator("Mul", [y, self._repeat(mask, frames)])

    def _repeat(self, mask: str, frames: str) -> str:
        """Repeat each segment's mask for its frames."""
        graph = self._graph
        if not hasattr(self, "_repeated"):
            self._repeated = (
                graph.constant("repeats", np.array([1, 1, 1, _SEGMENT_FRAMES], np.int64)),
                graph.constant("joined", np.array([0, 0, -1], np.int64)),
            )
        repeats, joined = self._repeated
        mask = graph.operator("Unsqueeze", [mask, self._last_axis])
        mask = graph.operator("Reshape", [graph.operator("Expand", [mask, repeats]), joined])
        return graph.operator("Slice", [mask, self._zero, frames, self._last_axis])

    def _statistics(self, x: str, frames: str) -> str:
        """Return the mean and the standard deviation (of n - 1) over time, one after the other."""
        graph = self._graph
        mean = graph.operator("ReduceMean", [x], axes=[-1], keepdims=1)
        squares = graph.operator("ReduceSumSquare", [graph.operator("Sub", [x, mean])], axes=[-1])
        less = graph.operator("Sub", [frames, self._one])
        variance = graph.operator("Div", [squares, graph.operator("Cast", [less], to=1)])
        return graph.operator("Concat", [mean, graph.operator("Sqrt", [variance])], axis=1)

    def _frames(self, x: str) -> str:
        """Return the number of frames of ``x``, int64, shape (1,)."""
        return self._graph.operator("Shape", [x], start=-1)

    def _normalisation(self, x: str, name: str) -> str:
        graph = self._graph
        scale, shift = (self._weight(f"{name}.{part}") for part in ("scale", "shift"))
        x = graph.operator("Add", [graph.operator("Mul", [x, scale]), shift])
        return graph.operator("Relu", [x])

    def _convolution(self, x: str, name: str, **attributes: Any) -> str:  # noqa: ANN401 - as onnx takes them
        parameters = [self._weight(f"{name}.weight")]
        if f"{name}.bias" in self._weights:
            parameters.append(self._weight(f"{name}.bias"))
        return self._graph.operator("Conv", [x, *parameters], **attributes)

    def _weight(self, name: str) -> str:
        value = self._weights[name]
        if name.endswith((".scale", ".shift")):
            value = value.reshape(1, -1, 1)
        if not self._is_half or value.size <= _SMALL or name.startswith(_PRECISE):
            return self._graph.constant(name, value)
        half = self._graph.constant(name, value.astype(np.float16))
        return self._graph.operator("Cast", [half], to=1)

    def _integers(self, name: str, value: int) -> str:
        return self._graph.constant(name, np.array([value], np.int64))
