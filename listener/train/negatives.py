"""The shipped negatives: embeddings of real recordings without a wake word, in 8 bits.

``models/negatives/`` holds them: ``sources.toml`` lists each recording with licence and hash, and
the arrays that ``python -m models.negatives.make`` made of them. Half of the sources train heads,
the other half fixes thresholds; no source is in both. A third array has the training half once
more, through rooms and in noise.
"""

import hashlib
import importlib.resources
import io
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.errors import ConfigError
from listener.quantities import quantity
from listener.wakeword.embedding import FEATURES
from listener.wakeword.features import Floats

SOURCES: Final = "sources.toml"
TRAIN: Final = "train"
THRESHOLD: Final = "threshold"
AUGMENTED: Final = "augmented"
PARTS: Final = (TRAIN, THRESHOLD, AUGMENTED)
STEP_S: Final = FRAME_SAMPLES / SAMPLE_RATE_HZ
_LARGEST_CODE: Final = 127


@dataclass(frozen=True, slots=True)
class Stream:
    """The embeddings of one recording, from the start of a stream."""

    source: str
    """Name of the recording in ``sources.toml``."""
    embeddings: Floats
    """float32, shape (steps, 96)."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.embeddings) * STEP_S


@dataclass(frozen=True, slots=True)
class Negatives:
    """Streams without a wake word."""

    train: tuple[Stream, ...]
    """The half that trains heads."""
    augmented: tuple[Stream, ...]
    """The training half once more, through rooms and in noise."""
    threshold: tuple[Stream, ...]
    """The half that fixes thresholds; no head is trained on it."""
    sha256: str
    """SHA-256 of ``sources.toml``, which has the hashes of all else."""


def fit_scale(embeddings: Floats) -> Floats:
    """Return offset and step of each feature for `encode`, float32, shape (2, 96).

    Args:
        embeddings: float32, shape (n, 96), n at least 2.
    """
    middle = embeddings.mean(axis=0)
    # 1 in 20,000 numbers is beyond, and is clipped.
    reach = np.quantile(np.abs(embeddings - middle), 1 - 5e-5, axis=0)
    return np.stack([middle, np.maximum(reach, 1e-3) / _LARGEST_CODE]).astype(np.float32)


def encode(embeddings: Floats, scale: Floats) -> NDArray[np.int8]:
    """Return embeddings in 8 bits a number, int8, shape (n, 96)."""
    codes = np.rint((embeddings - scale[0]) / scale[1])
    clipped: NDArray[np.int8] = np.clip(codes, -_LARGEST_CODE, _LARGEST_CODE).astype(np.int8)
    return clipped


def decode(codes: NDArray[np.int8], scale: Floats) -> Floats:
    """Return the embeddings of codes, float32, shape (n, 96)."""
    decoded: Floats = codes.astype(np.float32) * scale[1] + scale[0]
    return decoded


def negatives_folder() -> Traversable:
    """Return the folder of the shipped negatives."""
    return importlib.resources.files("earmark_models") / "negatives"


def load_negatives(folder: Traversable | None = None) -> Negatives:
    """Read the negatives and verify their hashes.

    Args:
        folder: another folder of the same form.

    Raises:
        ConfigError: a file is missing, or is not the one that ``sources.toml`` lists.
    """
    place = folder or negatives_folder()
    try:
        text = (place / SOURCES).read_bytes()
        listed = tomllib.loads(text.decode())
        arrays = {name: _read_array(place, name, listed) for name in (*PARTS, "scale")}
        scale = arrays["scale"].reshape(2, FEATURES)
        parts = {name: _cut(decode(arrays[name], scale), listed[name]) for name in PARTS}
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ConfigError(
            f"the negatives in {place} are missing or damaged: {error}", "reinstall earmark"
        ) from error
    return Negatives(
        parts[TRAIN], parts[AUGMENTED], parts[THRESHOLD], hashlib.sha256(text).hexdigest()
    )


def hours(streams: Sequence[Stream]) -> float:
    """Return the length of streams in hours."""
    return sum(stream.seconds for stream in streams) / 3600


def _read_array(place: Traversable, name: str, listed: dict[str, Any]) -> NDArray[Any]:
    data = (place / f"{name}.npy").read_bytes()
    if hashlib.sha256(data).hexdigest() != listed["files"][f"{name}.npy"]:
        raise ValueError(f"{name}.npy differs from {SOURCES}")
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _cut(embeddings: Floats, listed: Sequence[dict[str, Any]]) -> tuple[Stream, ...]:
    """Divide the rows of an array among the streams, in their order."""
    streams = []
    first = 0
    for entry in listed:
        last = first + int(entry["steps"])
        streams.append(Stream(str(entry["source"]), embeddings[first:last]))
        first = last
    if first != len(embeddings):
        raise ValueError(f"{SOURCES} lists {quantity(first, 'step')} of {len(embeddings)}")
    return tuple(streams)
