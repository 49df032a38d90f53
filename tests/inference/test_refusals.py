"""Reasons of refusal by the first bytes of a file."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from listener.errors import ModelRefused
from listener.inference.onnx import HeadNet
from listener.inference.refusals import explain_refusal


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pack:
        pack.writestr(zipfile.ZipInfo("word/data.pkl"), b"")
    return file.getvalue()


def network(*, ir_version: int = 8, opset: int = 13, operator: str = "Flatten") -> bytes:
    domain = "" if operator == "Flatten" else "example.org"
    graph = helper.make_graph(
        [helper.make_node(operator, ["in"], ["out"], domain=domain)],
        "test",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 16, 96])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1536])],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("example.org", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("word.onnx", b"", "is empty"),
        ("word.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("word.onnx", b"\n<!DOCTYPE html><title>404</title>", "web page"),
        ("word.onnx", b"<html><body>Not found", "web page"),
        ("word.tflite", b"\x1c\x00\x00\x00TFL3\x14\x00", "TensorFlow Lite"),
        ("word.pt", archive(), "PyTorch model or a ZIP"),
        ("word.pt", b"\x80\x02}q\x00.", "Python pickle"),
        ("word.h5", b"\x89HDF\r\n\x1a\n", "Keras"),
        ("word.gz", b"\x1f\x8b\x08", "gzip"),
        ("hey_there.ppn", bytes(range(64, 128)), "Porcupine"),
        ("word.onnx", network(ir_version=99), "needs a newer onnxruntime"),
        ("word.onnx", network(opset=99), "needs a newer onnxruntime"),
        ("word.onnx", network()[:60], "is not an ONNX file, or is truncated"),
        ("word.onnx", network(operator="Foo"), "Foo"),
    ],
)
def test_refusal_names_the_kind_of_file(name: str, data: bytes, text: str) -> None:
    with pytest.raises(ModelRefused, match=text) as caught:
        HeadNet(data, name)

    assert str(caught.value).startswith(name)
    assert "/" not in str(caught.value).replace("git-lfs", "")


def test_weights_in_a_second_file_have_a_hint(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros((1536, 4), np.float32), "w")
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["in"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["out"]),
        ],
        "test",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 16, 96])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "word.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="word.onnx.data", size_threshold=0
    )

    with pytest.raises(ModelRefused, match="second file") as caught:
        HeadNet(path.read_bytes(), "word.onnx")

    assert "onnx.save" in caught.value.hint


@given(data=st.binary(max_size=64), reason=st.text(max_size=300))
def test_every_refusal_is_one_line(data: bytes, reason: str) -> None:
    assert "\n" not in str(explain_refusal(data, "word.onnx", reason))
