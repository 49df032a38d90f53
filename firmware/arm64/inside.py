"""Program that scores recordings on both processors: ``python inside.py FILE…``.

Prints one JSON object: the versions of the libraries, the scores of every step of every file by
every wake word, and the speaker embedding of the first two seconds of every file. With
EARMARK_COUNT set it calls getppid before and after each frame instead, for the first word only, or
before and after each embedding; count.c prints the number of instructions at each of these calls.
The variable is "embedding", or has the parts of the detector that are on, joined by "+": lazy,
first-stage, second-opinion.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from listener.audio.pcm import Frame, Samples
    from listener.config import WakeSettings
    from listener.inference.catalogue import Catalogue
    from listener.wakeword.manifest import Model

IMPORTS: Final = (
    *("cffi", "cryptography.hazmat.primitives.asymmetric.ed25519", "flatbuffers", "gpiod"),
    *("google.protobuf.message", "msgspec", "numpy", "paho.mqtt.client", "pyrage", "rich.console"),
    *("soundfile", "soxr", "starlette.applications", "uvicorn"),
)
"""One module of each wheel with compiled code; sounddevice needs a library of Debian."""
EMBEDDED_SAMPLES: Final = 32_000
EMBEDDINGS: Final = 4
"""Embeddings whose instructions are counted."""


def main() -> None:
    """Import the libraries, score the files, print the result."""
    for name in IMPORTS:
        importlib.import_module(name)
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "python": platform.python_version(),
                "versions": {
                    name: importlib.metadata.version(name) for name in ("numpy", "onnxruntime")
                },
                "scores": {file: list(_scores(Path(file))) for file in sys.argv[1:]},
                "embeddings": {file: _embedding(Path(file)) for file in sys.argv[1:]},
            }
            if "EARMARK_COUNT" not in os.environ
            else _counted(Path(sys.argv[1]))
        )
    )


def _scores(file: Path) -> Iterator[dict[str, float]]:
    """Yield the scores of each step by name, from a fresh detector without lazy inference."""
    from listener.inference.build import build_detector

    catalogue, words, settings = _models(is_lazy=False)
    detector = build_detector(words, catalogue.embedding(), settings)
    for frame in _frames(file):
        detector.push(frame)
        for step in detector.steps:
            yield dict(step.scores)


def _embedding(file: Path) -> list[float]:
    """Return the speaker embedding of the first two seconds of a file, shape (192,)."""
    from listener.inference.speaker_embedding import SpeakerEmbedding

    vector = SpeakerEmbedding.load().embed(_read(file)[:EMBEDDED_SAMPLES])
    return [float(value) for value in vector]


def _counted(file: Path) -> dict[str, object]:
    """Push every frame between two system calls, at which count.c prints its counter."""
    mode = os.environ["EARMARK_COUNT"]
    if mode == "embedding":
        return _counted_embeddings(file)
    from listener.inference.build import FirstStageModels, build_detector

    parts = mode.split("+")
    catalogue, words, settings = _models(is_lazy="lazy" in parts)
    alexa = [word for word in words if word.name == "alexa"]
    student = catalogue.first_stage(alexa) if "first-stage" in parts else None
    opinions = catalogue.second_opinions(alexa) if "second-opinion" in parts else ()
    stage = None if student is None else FirstStageModels(student, catalogue.long_embedding())
    detector = build_detector(alexa, catalogue.embedding(), settings, stage, opinions)
    frames = _frames(file)
    for frame in frames:
        os.getppid()
        detector.push(frame)
        os.getppid()
    return {"frames": len(frames)}


def _counted_embeddings(file: Path) -> dict[str, object]:
    """Embed two seconds between two system calls, several times."""
    from listener.inference.speaker_embedding import SpeakerEmbedding

    network = SpeakerEmbedding.load()
    samples = _read(file)[:EMBEDDED_SAMPLES]
    for _ in range(EMBEDDINGS):
        os.getppid()
        network.embed(samples)
        os.getppid()
    return {"embeddings": EMBEDDINGS}


def _models(*, is_lazy: bool) -> tuple["Catalogue", list["Model"], "WakeSettings"]:
    from listener.config import WakeSettings
    from listener.inference.catalogue import Catalogue

    catalogue = Catalogue(Path(tempfile.gettempdir()) / "earmark-has-no-home-here")
    words = [
        catalogue.load(manifest.name)
        for manifest in catalogue.manifests()
        if manifest.kind == "wake-word"
    ]
    names = tuple(word.name for word in words)
    return catalogue, words, WakeSettings(words=names, lazy=is_lazy)


def _frames(file: Path) -> list["Frame"]:
    from listener.audio.pcm import Framer

    return list(Framer().push(_read(file)))


def _read(file: Path) -> "Samples":
    """Return the samples of a file, int16, shape (n,), 16 kHz."""
    import soundfile

    samples: Samples = soundfile.read(file, dtype="int16")[0]
    return samples


if __name__ == "__main__":
    main()
