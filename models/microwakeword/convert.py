"""Make the networks of second opinions from the models that pymicro-wakeword ships.

The package pymicro-wakeword 2.5.0 carries microWakeWord's models (Kevin Ahrendt, Apache-2.0) as
TensorFlow Lite files. Each file is verified by its SHA-256 and read as data; the package is not
imported. ``network.py`` writes the same network as ONNX, and the result must give the vectors that
``record.py`` recorded of the original program before a file is written.

Same input, same bytes. Run it with ``python -m models.microwakeword.convert [--from FOLDER]
[--out FOLDER]``; it needs ``onnx``, which no device does.
"""

import argparse
import importlib.util
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from listener import digests
from listener.audio.pcm import Samples
from listener.errors import EarmarkError, ModelRefused, Unavailable
from listener.inference.onnx import OpinionNet
from listener.wakeword.micro_features import MicroFeatures
from listener.wakeword.second_opinion import OPINION_FRAMES, OPINION_SAMPLES, window_features
from models.microwakeword.filters import make_filters
from models.microwakeword.network import write_network
from models.microwakeword.tflite_file import read_layers

PACKAGE: Final = "pymicro-wakeword"
VERSION: Final = "2.5.0"
MODULE: Final = "pymicro_wakeword"
SHA256: Final[Mapping[str, str]] = {
    "alexa": "9011a8155b04de858c48038529235cbc0e42e9fca05a55bf588cb80a653a723b",
    "hey_jarvis": "21a7976add39ee24ec96c63d96b7aaa18e24d1d9824b963e451da8feb4b78b77",
    "hey_mycroft": "c2a9b6ed51182db72e014781d5a4ece1929dc232a40b5b4be384f0295f0e1571",
}
"""The SHA-256 of each model that this converter was written for."""
MEAN_STEPS: Final = 5
"""Probabilities that each of these models averages: ``sliding_window_size`` of its description."""
PRODUCTS: Final = Path(__file__).parent
VECTORS: Final = Path(__file__).parents[2] / "tests" / "vectors" / "microwakeword"
"""What the original program gives for some recordings, see ``record.py``."""
LARGEST_DIFFERENCE: Final = 1e-3
"""Between a probability of the converted network and one of the original."""

_RECORDINGS: Final = VECTORS.parents[1] / "fixtures"
_HINT: Final = f"install it: pip install {PACKAGE}=={VERSION}"
_LARGEST_BYTES: Final = 1 << 20


def installed_models() -> Path:
    """Find the models of the installed package without importing it.

    Raises:
        ModelRefused: it is not installed.
    """
    found = importlib.util.find_spec(MODULE)
    if found is None or not found.submodule_search_locations:
        raise ModelRefused(f"{PACKAGE} is not installed", _HINT)
    return Path(found.submodule_search_locations[0]) / "models"


def read_model(folder: Path, name: str) -> bytes:
    """Return a model's file, verified.

    Args:
        folder: folder of the package's models.
        name: name of the model in the package.

    Raises:
        Unavailable: the file cannot be read.
        ModelRefused: its SHA-256 differs.
    """
    path = folder / f"{name}.tflite"
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES)
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}", _HINT) from error
    actual = digests.sha256(data).hex()
    if actual != SHA256[name]:
        raise ModelRefused(
            f"{path} differs from that of {PACKAGE} {VERSION}"
            f" (sha256 {actual[:16]}…, expected {SHA256[name][:16]}…)",
            _HINT,
        )
    return data


def read_windows(vectors: Path = VECTORS) -> list[Samples]:
    """Return the stretches of two seconds that the vectors belong to."""
    windows = []
    for clip in json.loads((vectors / "clips.json").read_text("utf-8")):
        samples, _ = soundfile.read(
            _RECORDINGS / clip["file"],
            start=clip["end_sample"] - OPINION_SAMPLES,
            stop=clip["end_sample"],
            dtype="int16",
        )
        windows.append(samples)
    return windows


def compare(network: bytes, name: str, vectors: Path = VECTORS) -> float:
    """Return the largest difference between a network and the recorded probabilities."""
    front_end = MicroFeatures(make_filters(), OPINION_FRAMES)
    opinion = OpinionNet(network, name)
    made = np.stack(
        [
            opinion.probabilities(window_features(front_end, window))
            for window in read_windows(vectors)
        ]
    )
    return float(np.abs(made - np.load(vectors / f"{name}.npy")).max())


def convert(models: Path) -> dict[str, bytes]:
    """Return each product by its file name.

    Args:
        models: folder of the package's models.

    Raises:
        Unavailable: a model cannot be read.
        ModelRefused: a model is another one, or its network does not give the recorded vectors.
    """
    filters = io.BytesIO()
    np.save(filters, make_filters())
    products = {"filters.npy": filters.getvalue()}
    for name in SHA256:
        network = write_network(read_layers(read_model(models, name)), MEAN_STEPS, name)
        if compare(network, name) > LARGEST_DIFFERENCE:
            raise ModelRefused(f"the network of {name} does not give the recorded vectors")
        products[f"{name.replace('_', '-')}.onnx"] = network
    return products


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the products; return the exit code."""
    parser = argparse.ArgumentParser(prog="models.microwakeword.convert", description=__doc__)
    parser.add_argument("--from", dest="models", type=Path, help="folder of the package's models")
    parser.add_argument("--out", type=Path, default=PRODUCTS, help="folder of the result")
    options = parser.parse_args(arguments)
    try:
        products = convert(options.models or installed_models())
    except EarmarkError as error:
        print(f"error: {error}")  # noqa: T201 - a program for developers: it has no other output
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    for name, data in products.items():
        (options.out / name).write_bytes(data)
        print(f"{options.out / name}: {len(data)} bytes")  # noqa: T201 - what was made
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
