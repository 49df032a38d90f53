from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from listener.errors import ModelRefused
from models.embedding.original import read_mel, read_network


def find(model: Any, kind: str, index: int = 0) -> Any:
    return [node for node in model.graph.node if node.op_type == kind][index]


def value(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def alter(model: Any, name: str, change: Callable[[Any], Any]) -> None:
    tensor = value(model, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def set_integers(node: Any, attribute: str, numbers: list[int]) -> None:
    found = next(entry for entry in node.attribute if entry.name == attribute)
    found.ints[:] = numbers


def another_slope(model: Any) -> None:
    find(model, "LeakyRelu", 3).attribute[0].f = 0.3


def another_floor(model: Any) -> None:
    alter(model, find(model, "Max").input[1], lambda floor: floor * 2)


def another_pool(model: Any) -> None:
    set_integers(find(model, "MaxPool", 1), "strides", [2, 2])


def another_kernel(model: Any) -> None:
    alter(model, find(model, "Conv", 4).input[1], lambda kernel: kernel[:24])


def another_dilation(model: Any) -> None:
    set_integers(find(model, "Conv", 2), "dilations", [2, 1])


def another_padding(model: Any) -> None:
    alter(model, find(model, "Pad").input[1], lambda pads: pads[::-1].copy())


def another_order(model: Any) -> None:
    find(model, "LeakyRelu", 1).input[0] = find(model, "Conv", 0).output[0]


def a_negative_scale(model: Any) -> None:
    alter(model, find(model, "BatchNormalization").input[1], lambda scale: -scale)


def a_layer_less(model: Any) -> None:
    model.graph.node.remove(find(model, "Relu"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_slope, "another slope"),
        (another_floor, "another floor"),
        (another_pool, "another pool after convolution 6"),
        (another_kernel, "convolution 4 has the shape"),
        (another_dilation, "convolution 2 has other attributes"),
        (another_padding, "other padding"),
        (another_order, "does not follow the layer before it"),
        (a_negative_scale, "scale that is not positive"),
        (a_layer_less, "other layers"),
    ],
)
def test_network_that_cannot_stream_is_refused(
    models_folder: Path, change: Callable[[Any], None], reason: str
) -> None:
    model = onnx.load(models_folder / "embedding_model.onnx")
    change(model)

    with pytest.raises(ModelRefused, match=reason):
        read_network(model.SerializeToString())


def a_shorter_window(model: Any) -> None:
    alter(model, "0.stft.conv_real.weight", lambda kernel: kernel * np.float32(0.9))


def weight_elsewhere(model: Any) -> None:
    alter(model, "1.melW", lambda weights: weights + np.float32(0.1))


def a_longer_step(model: Any) -> None:
    set_integers(find(model, "Conv", 1), "strides", [320])


def another_range(model: Any) -> None:
    constant = find(model, "Constant", -1).attribute[0].t
    constant.CopyFrom(numpy_helper.from_array(np.array(60, np.float32)))


def another_smallest_power(model: Any) -> None:
    alter(model, find(model, "Clip").input[1], lambda power: power * 10)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (a_shorter_window, "another window"),
        (weight_elsewhere, "weight where we do not look"),
        (a_longer_step, "another step"),
        (another_range, "another logarithm"),
        (another_smallest_power, "another smallest power"),
    ],
)
def test_different_mel_front_end_is_refused(
    models_folder: Path, change: Callable[[Any], None], reason: str
) -> None:
    model = onnx.load(models_folder / "melspectrogram.onnx")
    change(model)

    with pytest.raises(ModelRefused, match=reason):
        read_mel(model.SerializeToString())


def test_wake_word_is_not_an_embedding_network(models_folder: Path) -> None:
    with pytest.raises(ModelRefused, match="other layers"):
        read_network((models_folder / "alexa_v0.1.onnx").read_bytes())


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_not_a_network(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        read_network(data)
    with pytest.raises(ModelRefused):
        read_mel(data)
