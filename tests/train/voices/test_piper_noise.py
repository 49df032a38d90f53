"""The noise of a Piper network becomes an input."""

import functools

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from listener.errors import ModelRefused
from listener.inference.onnx import open_session
from listener.train.voices.piper import LONGEST_FRAMES, take_noise_as_input


@functools.cache
def network(sources: int = 2) -> bytes:
    """Return a network that adds normal noise of the shapes of its two inputs to them."""
    shapes: dict[str, list[str | int | None]] = {"a": [1, 2, "symbols"], "b": [1, 192, "frames"]}
    nodes = [
        helper.make_node("RandomNormalLike", [name], [f"{name}_noise"])
        for name in list(shapes)[:sources]
    ]
    nodes += [
        helper.make_node(
            "Add", [name, f"{name}_noise" if index < sources else name], [f"{name}_out"]
        )
        for index, name in enumerate(shapes)
    ]
    inputs = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    outputs = [
        helper.make_tensor_value_info(f"{name}_out", 1, shape) for name, shape in shapes.items()
    ]
    graph = helper.make_graph(nodes, "piper", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def test_noise_is_an_input_of_which_as_much_is_used_as_there_is_sound() -> None:
    session = open_session(take_noise_as_input(network()), "piper", keeps_memory=False)
    random = np.random.default_rng(1)
    inputs = {
        "a": np.zeros((1, 2, 7), np.float32),
        "b": np.zeros((1, 192, 50), np.float32),
        "duration_noise": random.standard_normal((1, 2, 7), np.float32),
        "latent_noise": random.standard_normal((1, 192, LONGEST_FRAMES), np.float32),
    }

    first, second = (session.run(None, inputs) for _ in range(2))

    np.testing.assert_array_equal(first[0], inputs["duration_noise"])
    np.testing.assert_array_equal(first[1], inputs["latent_noise"][:, :, :50])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    onnx.checker.check_model(onnx.load_model_from_string(take_noise_as_input(network())))


@pytest.mark.parametrize("sources", [0, 1])
def test_network_with_other_noise_is_refused(sources: int) -> None:
    with pytest.raises(ModelRefused, match="other sources of noise"):
        take_noise_as_input(network(sources))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        take_noise_as_input(data)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
def test_damaged_network_is_refused_or_parsed(place: int, damage: bytes) -> None:
    whole = network()
    place %= len(whole)
    try:
        take_noise_as_input(whole[:place] + damage + whole[place + len(damage) :])
    except ModelRefused:
        return
