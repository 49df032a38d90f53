"""The shipped network gives the embeddings of the original, and other files are refused."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from listener.config import WakeSettings
from listener.errors import ModelRefused
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.inference.speaker_embedding import (
    DIMENSIONS,
    SHORTEST_SAMPLES,
    SPEAKER_EMBEDDING,
    SpeakerEmbedding,
)
from listener.wakeword.manifest import Model
from models.campplus.convert import SMALLEST_COSINE, VECTORS, read_clips


@pytest.fixture(scope="module")
def network() -> SpeakerEmbedding:
    return SpeakerEmbedding.load()


def with_data(model: Model, data: bytes) -> Model:
    """Return a model whose manifest names other bytes."""
    file = msgspec.structs.replace(
        model.manifest.files[0], sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)
    )
    manifest = msgspec.structs.replace(model.manifest, files=(file, *model.manifest.files[1:]))
    return Model(manifest, (data, *model.contents[1:]))


def test_embeddings_are_those_of_the_original_network(network: SpeakerEmbedding) -> None:
    made = np.stack([network.embed(clip) for clip in read_clips()]).astype(np.float64)

    recorded = np.load(VECTORS / "embeddings.npy").astype(np.float64)
    recorded /= np.linalg.norm(recorded, axis=1, keepdims=True)
    assert made.shape == recorded.shape == (8, DIMENSIONS)
    assert (made * recorded).sum(axis=1).min() >= SMALLEST_COSINE


def test_an_embedding_has_length_one_and_is_the_same_each_time(network: SpeakerEmbedding) -> None:
    first, *_, last = read_clips()

    once = network.embed(last)
    network.embed(first)
    again = network.embed(last)

    assert once.dtype == np.float32
    assert abs(float(np.linalg.norm(once)) - 1) < 1e-6
    assert np.array_equal(once, again)


def test_a_voice_is_more_alike_to_itself_than_to_another(network: SpeakerEmbedding) -> None:
    _, _, _, _, ada, bo, ada_again, _ = map(network.embed, read_clips())

    assert ada @ ada_again > ada @ bo + 0.2


@pytest.mark.parametrize("samples", [0, 1, SHORTEST_SAMPLES - 1])
def test_a_clip_that_is_too_short_is_refused(network: SpeakerEmbedding, samples: int) -> None:
    with pytest.raises(ValueError, match=f"{samples} samples, fewer than 8000"):
        network.embed(np.ones(samples, np.int16))


@pytest.mark.parametrize("level", [0, 32_767])
def test_sound_without_speech_has_a_finite_embedding(network: SpeakerEmbedding, level: int) -> None:
    embedding = network.embed(np.full(SHORTEST_SAMPLES, level, np.int16))

    assert np.isfinite(embedding).all()


def test_model_sha256_is_the_hash_of_the_network_file(
    network: SpeakerEmbedding, catalogue: Catalogue
) -> None:
    model = catalogue.load(SPEAKER_EMBEDDING)

    assert network.model_sha256 == hashlib.sha256(model.data).hexdigest()


def test_a_changed_byte_is_refused_by_the_hash(catalogue: Catalogue) -> None:
    model = catalogue.load(SPEAKER_EMBEDDING)
    changed = bytearray(model.data)
    changed[len(changed) // 2] ^= 1

    with pytest.raises(ModelRefused, match=r"campplus-16\.onnx differs from its manifest"):
        dataclasses.replace(model, contents=(bytes(changed), *model.contents[1:]))


@pytest.mark.parametrize("length", [0, 1000, 7_000_000])
def test_a_truncated_network_is_refused(catalogue: Catalogue, length: int) -> None:
    model = catalogue.load(SPEAKER_EMBEDDING)

    with pytest.raises(ModelRefused, match="speaker-embedding is"):
        SpeakerEmbedding(with_data(model, model.data[:length] or b"\0"))


def relu(shape: list[int | str]) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["filterbank"], ["embedding"])],
        "test",
        [helper.make_tensor_value_info("filterbank", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_another_network_is_refused(catalogue: Catalogue) -> None:
    model = catalogue.load(SPEAKER_EMBEDDING)
    others = (relu([1, "frames", 80]), catalogue.load("alexa").data)

    for other in others:
        with pytest.raises(ModelRefused, match="is not a speaker embedding network"):
            SpeakerEmbedding(with_data(model, other))


def test_an_added_model_cannot_replace_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: SpeakerEmbedding
) -> None:
    folder = tmp_path / "models" / SPEAKER_EMBEDDING
    folder.mkdir(parents=True)
    (folder / "manifest.toml").write_text("name = 'another'")
    monkeypatch.chdir(tmp_path)

    assert SpeakerEmbedding.load().model_sha256 == network.model_sha256


def test_it_is_refused_as_a_wake_word(catalogue: Catalogue) -> None:
    model = catalogue.load(SPEAKER_EMBEDDING)

    assert model.manifest.kind == "embedding"
    with pytest.raises(ModelRefused, match="speaker-embedding takes the shape"):
        build_detector([model], catalogue.embedding(), WakeSettings())


@pytest.mark.system
def test_one_thread_computes_embeddings() -> None:
    program = """
import numpy as np
from pathlib import Path
from listener.inference.speaker_embedding import SpeakerEmbedding

network = SpeakerEmbedding.load()
network.embed(np.arange(48_000).astype(np.int16))
print(len(list(Path("/proc/self/task").iterdir())))
"""

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        text=True,
    )

    assert done.stdout.split() == ["1"]
