"""What the tests of listening share: models, recordings as samples, and the original networks."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from listener.audio.pcm import FRAME_SAMPLES, Frame, Samples
from listener.config import WakeSettings
from listener.inference.build import build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.detector import StreamDetector

WORDS = ("alexa", "hey-jarvis", "hey-marvin", "hey-mycroft", "timer", "weather")
FIXTURES = Path(__file__).parents[1] / "fixtures"

BuildDetector = Callable[..., StreamDetector]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue(Path("/nonexistent"))


@pytest.fixture(scope="session")
def build(catalogue: Catalogue) -> BuildDetector:
    """Make a detector: build(*words, **settings)."""

    def make(*words: str, **settings: Any) -> StreamDetector:
        models = [catalogue.load(word) for word in words]
        return build_detector(models, catalogue.embedding(), WakeSettings(**settings))

    return make


@pytest.fixture(scope="session")
def original() -> Callable[[str], Any]:
    """Open a network of openWakeWord as it ships: original("embedding_model")."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - after its telemetry is off

    return lambda name: onnxruntime.InferenceSession(
        wheel_models() / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )


@pytest.fixture(scope="session")
def spoken() -> dict[str, Samples]:
    """The project's own recordings of 16 kHz, made with espeak-ng."""
    return {
        path.stem: samples
        for path in sorted(FIXTURES.glob("*.flac"))
        for samples, rate_hz in [soundfile.read(path, dtype="int16")]
        if rate_hz == 16_000
    }


def wheel_models() -> Path:
    """Where the installed openwakeword keeps its models."""
    spec = importlib.util.find_spec("openwakeword")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "resources" / "models"


@pytest.fixture(scope="session")
def models_folder() -> Path:
    return wheel_models()


@pytest.fixture(scope="session")
def cut() -> Callable[[Samples], Iterator[Frame]]:
    """Cut samples into frames; what does not fill one is left out."""

    def frames(samples: Samples) -> Iterator[Frame]:
        for first in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            yield Frame(samples[first : first + FRAME_SAMPLES], first)

    return frames


@pytest.fixture(scope="session")
def read_folder() -> Callable[[Path, float], Samples]:
    """Join the recordings of a folder, up to so many seconds, silence of 0.4 s between."""

    def read(folder: Path, longest_s: float) -> Samples:
        parts: list[Samples] = []
        for path in sorted(folder.iterdir()):
            if path.suffix not in {".flac", ".opus", ".wav"}:
                continue
            try:
                samples = soundfile.read(path, dtype="int16")[0]
            except soundfile.LibsndfileError:
                continue  # one recording of the set is damaged
            parts += [samples, np.zeros(6_400, np.int16)]
            if sum(map(len, parts)) >= longest_s * 16_000:
                break
        return np.concatenate(parts)[: round(longest_s * 16_000)]

    return read


@pytest.fixture(scope="session")
def all_scores() -> Callable[
    [StreamDetector, Iterator[Frame]], np.ndarray[Any, np.dtype[np.float32]]
]:
    """Score frames: one row a step, NaN where a step was put off, columns as the words."""

    def score(
        detector: StreamDetector, frames: Iterator[Frame]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = []
        for frame in frames:
            detector.push(frame)
            rows += [list(step.scores.values()) for step in detector.steps]
        width = max(map(len, rows))
        return np.array([row or [np.nan] * width for row in rows], np.float32)

    return score
