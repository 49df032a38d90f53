"""What a number rests on: hashes of the code and versions of what computes."""

import hashlib
import importlib.metadata
import importlib.resources
import platform
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Final

import soundfile

import listener

PACKAGES: Final = ("numpy", "onnxruntime", "scipy", "soundfile", "soxr")

SCORING: Final = ("audio", "inference", "storage/recordings.py", "wakeword")
"""What the scores of our own models depend on; another threshold or report does not touch them."""
MIXING: Final = (
    "evaluate/corpus/augmentation.py",
    "evaluate/corpus/playback.py",
    "evaluate/corpus/speech_level.py",
)


def versions() -> dict[str, str]:
    """Return the versions of Earmark, Python and the packages that compute."""
    found = {"earmark": listener.__version__, "python": platform.python_version()}
    found["libsndfile"] = str(soundfile.__libsndfile_version__)
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an engine of others does without some
    return found


def code_hash(parts: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 over the source of the package.

    Args:
        parts: only these files and folders of it; none: all.
    """
    root = importlib.resources.files("listener")
    digest = hashlib.sha256()
    for part in parts or ("",):
        for name, file in _sources(root.joinpath(part) if part else root, part):
            data = file.read_bytes()
            digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def digest_values(*parts: object) -> str:
    """Return the SHA-256 over the plain text of numbers, texts and tuples of them."""
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


def _sources(place: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    if place.is_file():
        if name.endswith(".py"):
            yield name, place
        return
    for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
        if entry.name != "__pycache__":
            yield from _sources(entry, f"{name}/{entry.name}".lstrip("/"))
