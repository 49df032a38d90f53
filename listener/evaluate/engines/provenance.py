"""Provenance of results: hashes of the code and versions of the packages that compute."""

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
"""Code that the scores of Earmark's models depend on; thresholds and reports do not."""
MIXING: Final = (
    "evaluate/corpus/augmentation.py",
    "evaluate/corpus/playback.py",
    "evaluate/corpus/speech_level.py",
)
"""Code that the augmented audio depends on."""
STREAMING: Final = ("evaluate/corpus/stream.py",)
"""Code that the audio of a stream depends on besides."""


def versions() -> dict[str, str]:
    """Return the versions of Earmark, Python and the packages that compute."""
    installed = {"earmark": listener.__version__, "python": platform.python_version()}
    installed["libsndfile"] = str(soundfile.__libsndfile_version__)
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # other engines need only some of them
    return installed


def code_hash(parts: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 over the source of the package.

    Args:
        parts: files and folders of the package to include; empty: all.
    """
    root = importlib.resources.files("listener")
    digest = hashlib.sha256()
    for part in parts or ("",):
        for name, file in _sources(root.joinpath(part) if part else root, part):
            data = file.read_bytes()
            digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def digest_values(*parts: object) -> str:
    """Return the SHA-256 over the ``repr`` of numbers, texts and tuples of them."""
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


def _sources(place: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    if place.is_file():
        if name.endswith(".py"):
            yield name, place
        return
    for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
        if entry.name != "__pycache__":
            yield from _sources(entry, f"{name}/{entry.name}".lstrip("/"))
