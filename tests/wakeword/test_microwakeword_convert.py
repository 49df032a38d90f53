"""The networks of second opinions are those that pymicro-wakeword ships, and nothing else."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.audio.pcm import Samples
from listener.errors import ModelRefused, Unavailable
from listener.inference.catalogue import Catalogue
from listener.inference.onnx import OpinionNet
from listener.wakeword.micro_features import MicroFeatures
from listener.wakeword.second_opinion import OPINION_FRAMES, OPINION_SAMPLES, window_features
from models.microwakeword import convert
from models.microwakeword.filters import make_filters
from models.microwakeword.network import write_network
from models.microwakeword.record import compute_features, compute_probabilities
from models.microwakeword.tflite_file import DENSE, read_layers

WORDS = tuple(convert.SHA256)
ALEXA = (convert.installed_models() / "alexa.tflite").read_bytes()


def committed(name: str) -> bytes:
    return (convert.PRODUCTS / f"{name.replace('_', '-')}.onnx").read_bytes()


def test_converter_reproduces_the_committed_files() -> None:
    for name, data in convert.convert(convert.installed_models()).items():
        assert data == (convert.PRODUCTS / name).read_bytes(), name


def test_manifest_has_the_hash_of_every_file(catalogue: Catalogue) -> None:
    model = catalogue.load("microwakeword")

    assert model.manifest.licence == "Apache-2.0"
    assert {file.path for file in model.manifest.files} == {
        "alexa.onnx",
        "filters.npy",
        "hey-jarvis.onnx",
        "hey-mycroft.onnx",
    }


@pytest.mark.parametrize("name", WORDS)
def test_network_gives_the_recorded_probabilities(name: str) -> None:
    recorded = np.load(convert.VECTORS / f"{name}.npy")

    assert recorded.max() > 0.3  # one of the stretches has the word
    assert convert.compare(committed(name), name) <= convert.LARGEST_DIFFERENCE


@pytest.mark.recordings
@pytest.mark.parametrize("name", WORDS)
def test_network_equals_the_original_on_real_speech(
    name: str,
    recordings: Path,
    read_folder: Callable[[Path, float], Samples],
) -> None:
    samples = read_folder(recordings / "positive" / "alexa", 20.0)
    front_end = MicroFeatures(make_filters(), OPINION_FRAMES)
    opinion = OpinionNet(committed(name), name)
    starts = range(0, len(samples) - OPINION_SAMPLES, OPINION_SAMPLES // 2)

    for start in starts:
        window = samples[start : start + OPINION_SAMPLES]
        made = opinion.probabilities(window_features(front_end, window))
        original = compute_probabilities(name, compute_features(window))
        assert np.abs(made - original).max() <= convert.LARGEST_DIFFERENCE


def test_a_file_of_another_release_is_refused_by_its_hash(tmp_path: Path) -> None:
    other = bytearray(ALEXA)
    other[-1] ^= 1
    (tmp_path / "alexa.tflite").write_bytes(other)

    with pytest.raises(ModelRefused, match=r"alexa.tflite differs .* 2\.5\.0 \(sha256"):
        convert.read_model(tmp_path, "alexa")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read .*alexa\.tflite: No such file"):
        convert.read_model(tmp_path, "alexa")


def test_command_writes_to_the_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for name in WORDS:
        shutil.copy(convert.installed_models() / f"{name}.tflite", models)

    assert convert.main(["--from", str(models), "--out", str(tmp_path / "out")]) == 0
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["alexa.onnx", "filters.npy", "hey-jarvis.onnx", "hey-mycroft.onnx"]

    (models / "alexa.tflite").unlink()
    assert convert.main(["--from", str(models), "--out", str(tmp_path / "none")]) == 1
    assert "error: cannot read" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_reader_finds_the_layers_of_a_network() -> None:
    layers = read_layers(ALEXA)

    assert [layer.weights.shape for layer in layers][:3] == [
        (32, 5, 1, 40),
        (1, 5, 1, 32),
        (64, 1, 1, 32),
    ]
    assert layers[0].stride == 3
    assert layers[-1].operator == DENSE
    assert layers[-1].weights.shape == (1, 320)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_raises_only_its_one_error(data: st.DataObject) -> None:
    damaged = bytearray(ALEXA)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))]

    try:
        layers = read_layers(bytes(damaged))
    except ModelRefused:
        return
    assert all(layer.weights.dtype == np.int8 for layer in layers)


def test_a_network_with_other_operators_is_refused() -> None:
    okay_nabu = (convert.installed_models() / "okay_nabu.tflite").read_bytes()

    with pytest.raises(ModelRefused, match="an operator 102, which is not known"):
        read_layers(okay_nabu)


def test_a_layer_that_no_line_rounds_alike_is_refused() -> None:
    first, *others = read_layers(ALEXA)
    # At a scale just above 1, the first rounding is to halves: only even numbers result.
    scale = np.float32(1.00001) * np.float32(first.output_scale) / np.float32(first.input_scale)
    coarse = replace(first, weight_scales=np.full_like(first.weight_scales, scale))

    with pytest.raises(ModelRefused, match="no line rounds the sums of layer 0"):
        write_network([coarse, *others], convert.MEAN_STEPS, "coarse")


def test_another_network_is_not_a_second_opinion(catalogue: Catalogue) -> None:
    speech = catalogue.speech()

    with pytest.raises(ModelRefused, match="silero is not a network for a second opinion"):
        OpinionNet(speech.data, "silero")


def test_hashes_are_those_of_the_installed_files() -> None:
    for name, expected in convert.SHA256.items():
        data = (convert.installed_models() / f"{name}.tflite").read_bytes()
        assert hashlib.sha256(data).hexdigest() == expected
