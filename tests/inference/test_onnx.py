import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from listener.errors import ModelRefused
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import HeadNet, LongNet, SpeechNet, StreamNet


@pytest.mark.system
def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    program = """
import sys
import listener.inference.build, listener.inference.onnx, listener.inference.onnx
assert "onnxruntime" not in sys.modules, "importing our module imports nothing of theirs"

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            import os
            print("telemetry", os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watch())
from pathlib import Path
from listener.inference.catalogue import Catalogue
listener.inference.onnx.HeadNet(Catalogue(Path("/nonexistent")).load("alexa").data, "alexa")
print("heavy", sorted({"scipy", "sklearn", "openwakeword", "onnx"} & set(sys.modules)))
"""
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env=environment, text=True
    )

    assert done.stdout.splitlines() == ["telemetry 1", "heavy []"]


def test_head_is_not_a_streaming_embedding_network(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="not a streaming embedding network"):
        StreamNet(catalogue.load("alexa").data, "it")


def test_head_is_not_a_batch_embedding_network(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="not a batch embedding network"):
        LongNet(catalogue.load("alexa").data, "it")


WINDOWS = {
    "alexa": 16,
    "hey-jarvis": 16,
    "hey-marvin": 16,
    "hey-mycroft": 16,
    "timer": 34,
    "weather": 22,
}


def network(
    input_shape: list[Any],
    output_shape: list[Any],
    *,
    kind: int = TensorProto.FLOAT,
    operator: str = "Flatten",
) -> bytes:
    """Write a network that takes and gives these shapes; it is never run."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["in"], ["out"])],
        "test",
        [helper.make_tensor_value_info("in", kind, input_shape)],
        [helper.make_tensor_value_info("out", kind, output_shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(("word", "window"), WINDOWS.items())
def test_head_window_is_read_from_the_input_shape(
    catalogue: Catalogue, word: str, window: int
) -> None:
    head = HeadNet(catalogue.load(word).data, word)

    assert head.window_frames == window
    assert head.outputs == (7 if word == "timer" else 1)
    assert 0 <= head.score(np.zeros((window, 96), np.float32))[0] <= 1


def test_wipe_zeroes_the_window_of_a_head(catalogue: Catalogue) -> None:
    head = HeadNet(catalogue.load("alexa").data, "alexa")
    head.score(np.ones((16, 96), np.float32))

    head.wipe()

    assert not head._window.any()  # noqa: SLF001 - nothing of the sound may stay


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (network([1, 16, 64], [1, 1024]), r"takes the shape \[1, 16, 64\]"),
        (network([2, 16, 96], [2, 1536]), r"takes the shape \[2, 16, 96\]"),
        (network([1, "n", 96], [1, "m"]), r"takes the shape \[1, 'n', 96\]"),
        (network([1, 1025, 96], [1, 98_400]), "takes the shape"),
        (network([1, 16, 96], [1, 16, 96], operator="Relu"), r"gives the shape \[1, 16, 96\]"),
        (network([1, 16, 96], [1, 1536], kind=TensorProto.DOUBLE), r"takes tensor\(double\)"),
    ],
    ids=["features", "batch", "window", "long", "output", "type"],
)
def test_network_with_other_shapes_is_not_a_head(data: bytes, reason: str) -> None:
    with pytest.raises(ModelRefused, match=reason) as caught:
        HeadNet(data, "it")

    assert "(1, n, 96)" in caught.value.hint


def test_head_with_a_dynamic_batch_is_accepted() -> None:
    head = HeadNet(network(["n", 1, 96], ["n", 96]), "it")

    assert (head.window_frames, head.outputs) == (1, 96)


def with_batch_axis(data: bytes, change: Callable[[Any], None] | None = None) -> bytes:
    """Return a head with a symbolic batch axis, and otherwise changed by ``change``."""
    model = onnx.load_from_string(data)
    for tensor in (model.graph.input[0], model.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    if change:
        change(model.graph)
    return bytes(model.SerializeToString())


def flatten_by_a_constant_shape(graph: Any) -> None:  # noqa: ANN401 - protobuf has no types
    (flatten,) = (node for node in graph.node if node.op_type == "Flatten")
    graph.initializer.append(numpy_helper.from_array(np.array([1, 1536]), "shape"))
    flatten.op_type = "Reshape"
    flatten.input.append("shape")
    del flatten.attribute[:]


def score_only_the_first_window(graph: Any) -> None:  # noqa: ANN401 - protobuf has no types
    first = helper.make_node("Gather", [graph.input[0].name, "zero"], ["first"], axis=0)
    for node in graph.node:
        node.input[:] = ["first" if name == graph.input[0].name else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
    graph.node.insert(0, first)


def subtract_the_mean_of_the_batch(graph: Any) -> None:  # noqa: ANN401 - protobuf has no types
    source = graph.input[0].name
    mean = helper.make_node("ReduceMean", [source], ["mean"], axes=[0], keepdims=1)
    part = helper.make_node("Mul", ["mean", "half"], ["part"])
    centred = helper.make_node("Sub", [source, "part"], ["centred"])
    for node in graph.node:
        node.input[:] = ["centred" if name == source else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    for place, node in enumerate((mean, part, centred)):
        graph.node.insert(place, node)


def test_symbolic_batch_axis_of_a_right_head_is_used(catalogue: Catalogue) -> None:
    head = HeadNet(with_batch_axis(catalogue.load("alexa").data), "it")

    assert head.takes_batches(128)
    assert head.takes_batches(1)


@pytest.mark.parametrize(
    "change",
    [flatten_by_a_constant_shape, score_only_the_first_window, subtract_the_mean_of_the_batch],
)
def test_model_with_other_scores_in_a_batch_runs_window_by_window(
    catalogue: Catalogue, change: Callable[[Any], None]
) -> None:
    right = HeadNet(catalogue.load("alexa").data, "right")
    wrong = HeadNet(with_batch_axis(catalogue.load("alexa").data, change), "wrong")
    embeddings = 20 * np.random.default_rng(5).standard_normal((40, 96)).astype(np.float32)

    assert not wrong.takes_batches(25)
    scores = wrong.over(embeddings).score(16, 40)

    expected = [wrong.score(embeddings[end - 16 : end]).copy() for end in range(16, 41)]
    assert np.allclose(scores, expected, atol=1e-6)
    if change is not subtract_the_mean_of_the_batch:
        assert np.allclose(scores, right.over(embeddings).score(16, 40), atol=1e-6)


def test_network_with_several_inputs_is_not_a_head(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="3 inputs and 2 outputs"):
        HeadNet(catalogue.speech().data, "it")


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_not_a_head(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        HeadNet(data, "it")


@pytest.mark.parametrize("cut", [0, 1, 100, 400_000, 854_245])
def test_truncated_head_is_refused(catalogue: Catalogue, cut: int) -> None:
    data = catalogue.load("alexa").data

    with pytest.raises(ModelRefused):
        HeadNet(data[:cut], "it")


def test_speech_network_separates_speech_from_silence(
    catalogue: Catalogue, say: Callable[[str], Any]
) -> None:
    speech = SpeechNet(catalogue.speech())
    talk = say("talk")

    silence = [speech.probability(np.zeros(640, np.int16)) for _ in range(25)]
    spoken = [speech.probability(talk[at : at + 640]) for at in range(48_000, 96_000, 640)]

    assert max(silence[5:]) < 0.2
    assert max(spoken) > 0.8


def test_reset_clears_the_state_of_the_speech_network(
    catalogue: Catalogue, say: Callable[[str], Any]
) -> None:
    speech = SpeechNet(catalogue.speech())
    chunk = say("talk")[60_000:60_640]
    first = speech.probability(chunk)
    speech.probability(chunk)

    speech.reset()

    assert speech.probability(chunk) == first


def test_wake_word_is_not_a_speech_network(catalogue: Catalogue) -> None:
    with pytest.raises(ModelRefused, match="not a Silero"):
        SpeechNet(catalogue.load("alexa"))
