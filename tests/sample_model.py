"""A model with random content that is added to a data directory."""

import hashlib
from pathlib import Path

from listener.inference.add_model import add_model
from listener.inference.catalogue import Catalogue
from listener.wakeword.manifest import File, Manifest

DATA = b"not a network, but this place does not care"


def manifest_of(name: str, data: bytes = DATA) -> Manifest:
    return Manifest(
        name=name,
        kind="wake-word",
        origin="a test",
        licence="CC0-1.0",
        input_shape=(1, 16, 96),
        window_frames=16,
        threshold=0.5,
        files=(File(path="model.onnx", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),),
    )


def add_pineapple(home: Path) -> Path:
    """Add it; return its folder."""
    add_model(Catalogue(home), manifest_of("pineapple"), DATA)
    return home / "models" / "pineapple"
