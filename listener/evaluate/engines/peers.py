"""Recipes of other engines by the same ruler: openWakeWord's own code, and microWakeWord.

Each is driven as its makers drive it, in a module of its own, and its scores are judged by the
same rule as ours. Both are extras; ``piped.py`` runs any other engine as a process.

Packages of other engines: extras, which may not be there.

openWakeWord's own code, driven as its makers drive it.

microWakeWord's networks, driven as their makers drive them.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Framer, Samples
from listener.errors import ConfigError, UsageError
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.interface import Engine, ScoreTrack, build_track
from listener.evaluate.engines.provenance import digest_values
from listener.inference.catalogue import Catalogue
from listener.wakeword.manifest import DEFAULT_THRESHOLD, Model

_HINT: Final = "pip install 'earmark[peers]' brings it"


def import_package(name: str) -> Any:  # noqa: ANN401 - neither engine ships types
    """Import a module.

    Raises:
        ConfigError: it, or what it needs itself, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name.partition('.')[0]} cannot be used: {error}", _HINT) from error


def find_package(name: str, called: str) -> Path:
    """Find where a package lies without importing it.

    Args:
        name: by which it is imported.
        called: by which it is installed.

    Raises:
        ConfigError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ConfigError(f"{called} is not installed", _HINT)
    return Path(found.origin).parent


def package_versions(*packages: str) -> tuple[tuple[str, str], ...]:
    """Return the versions of packages.

    Raises:
        ConfigError: one is not installed.
    """
    try:
        return tuple((name, importlib.metadata.version(name)) for name in packages)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed", _HINT) from error


class OpenWakeWord:
    """openWakeWord's own ``Model.predict``, 80 ms at a time; see ``Engine``."""

    def __init__(self, models: list[Model]) -> None:
        """Load.

        Raises:
            ConfigError: the package is not installed.
        """
        # As in inference/runtime.py: telemetry is on by default, and off before the first import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        module = import_package("openwakeword.model")
        module.ort.disable_telemetry_events()
        self.words = tuple(model.name for model in models)
        self.thresholds = {
            model.name: model.manifest.threshold or DEFAULT_THRESHOLD for model in models
        }
        # It wants files, and names its scores after them.
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Specified provider", UserWarning)
            paths = [Path(folder) / f"{model.name}.onnx" for model in models]
            for path, model in zip(paths, models, strict=True):
                path.write_bytes(model.data)
            self._model = module.Model(wakeword_model_paths=[str(path) for path in paths])
        # Its own argument for this takes the name of the model for one of the labels.
        named = {
            model.name: {str(index): f"{model.name} {index}" for index in model.manifest.labels}
            for model in models
        }
        self._model.class_mapping |= {word: labels for word, labels in named.items() if labels}
        self._names = {word: tuple(labels.values()) or (word,) for word, labels in named.items()}
        self._start = self._model.preprocessor.feature_buffer.copy()

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``."""
        self._restart()
        framer, length, rows = Framer(), 0, []
        for block in blocks:
            length += len(block)
            for frame in framer.push(block):
                scores = self._model.predict(frame.samples)
                rows.append(
                    [max(scores[name] for name in self._names[word]) for word in self.words]
                )
        return build_track(self.words, rows, FRAME_SAMPLES, FRAME_SAMPLES, length)

    def _restart(self) -> None:
        """Put it where a new one stands: its own ``reset`` leaves the sound of the last item."""
        features = self._model.preprocessor
        features.raw_data_buffer.clear()
        features.melspectrogram_buffer = np.ones((76, 32))
        features.accumulated_samples = 0
        features.feature_buffer = self._start.copy()
        self._model.reset()


_PACKAGE: Final = "pymicro_wakeword"
_CHUNK_SAMPLES: Final = 160


def file_name(word: str) -> str:
    """Return what a word's files are called there, without their endings."""
    return word.replace("-", "_")


def models_folder() -> Path:
    """Find the models of the package without importing it.

    Raises:
        ConfigError: it is not installed.
    """
    return find_package(_PACKAGE, "pymicro-wakeword") / "models"


class MicroWakeWord:
    """microWakeWord's networks: the mean of their last probabilities, every 30 ms; see ``Engine``.

    The mean over its window is what its makers hold against the threshold.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        """Load.

        Raises:
            ConfigError: the package is not installed.
        """
        self._module = import_package(_PACKAGE)
        self.words = words
        folder = models_folder()
        self._models = [
            self._module.MicroWakeWord.from_config(folder / f"{file_name(word)}.json")
            for word in words
        ]
        self.thresholds = {
            word: float(model.probability_cutoff)
            for word, model in zip(words, self._models, strict=True)
        }
        self._stride = max(model.stride for model in self._models)

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``."""
        for model in self._models:
            model.reset()
        features = self._module.MicroWakeWordFeatures()
        length, seen, first_end, rows = 0, 0, 0, []
        for chunk in _chunks(blocks):
            length += len(chunk)
            if len(chunk) < _CHUNK_SAMPLES:
                break
            for feature in features.process_streaming(chunk.tobytes()):
                scores = [model.process_streaming_prob(feature) for model in self._models]
                seen += 1
                # Between strides it answers 0, which is no score.
                if seen % self._stride == 0:
                    first_end = first_end or length
                    rows.append(scores)
        step_samples = self._stride * _CHUNK_SAMPLES
        return build_track(self.words, rows, step_samples, first_end or step_samples, length)


def _chunks(blocks: Iterable[Samples]) -> Iterable[Samples]:
    """Cut blocks into pieces of 10 ms, the last as long as it is."""
    left = np.zeros(0, np.int16)
    for block in blocks:
        left = np.concatenate([left, block])
        whole = len(left) // _CHUNK_SAMPLES * _CHUNK_SAMPLES
        yield from left[:whole].reshape(-1, _CHUNK_SAMPLES)
        left = left[whole:]
    if len(left):
        yield left


OPENWAKEWORD: Final = "openwakeword"
MICROWAKEWORD: Final = "microwakeword"


@dataclass(frozen=True, slots=True)
class PeerRecipe:
    """How to make an engine of somebody else's package; see ``EngineRecipe``."""

    kind: str
    name: str
    home: Path
    words: tuple[str, ...]
    key: str
    model_hashes: tuple[tuple[str, str], ...]

    def hashes(self) -> Mapping[str, str]:
        """See ``EngineRecipe.hashes``."""
        return dict(self.model_hashes)

    def build(self) -> Engine:
        """Make it.

        Raises:
            ConfigError: its package is not installed.
            ModelRefused: a model is not there any more, or is another.
        """
        if self.kind == OPENWAKEWORD:
            catalogue = Catalogue(self.home)
            return OpenWakeWord([catalogue.load(word) for word in self.words])
        return MicroWakeWord(self.words)


def openwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Prepare openWakeWord's own code with models of our catalogue.

    Raises:
        ConfigError: the package is not installed.
        ModelRefused: a model is not there, or not what its manifest says.
    """
    catalogue = Catalogue(home)
    models = [catalogue.load(word) for word in words]
    hashes = tuple((model.name, model.manifest.sha256) for model in models)
    packages = package_versions(OPENWAKEWORD, "onnxruntime", "numpy")
    key = digest_values(OPENWAKEWORD, hashes, packages)
    return PeerRecipe(OPENWAKEWORD, name, home, words, key, hashes)


def microwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Prepare microWakeWord with the models of its package.

    Args:
        name: what results call it.
        home: not looked at; as the others.
        words: names of its models; hyphens stand for underscores.

    Raises:
        ConfigError: the package is not installed.
        UsageError: it has no such model.
    """
    packages = package_versions("pymicro-wakeword", "pymicro-features", "numpy")
    folder = models_folder()
    hashes = []
    for word in words:
        file = folder / f"{file_name(word)}.tflite"
        if not file.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.tflite")))
            raise UsageError(f"microWakeWord has no model {word}", f"it has {known}")
        hashes.append((word, file_hash(file)))
        # Threshold and window stand beside it.
        hashes.append((f"{word}.json", file_hash(file.with_suffix(".json"))))
    key = digest_values(MICROWAKEWORD, tuple(hashes), packages)
    return PeerRecipe(MICROWAKEWORD, name, home, words, key, tuple(hashes))
