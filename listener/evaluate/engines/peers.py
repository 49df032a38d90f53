"""Engines of other packages: openWakeWord and microWakeWord, scored with the same rules.

Each package is called as its authors call it. Both are optional dependencies (the extra ``peers``);
``external.py`` runs any other engine as a process.
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
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Framer, Samples
from listener.errors import ConfigError, UsageError
from listener.evaluate.corpus.playback import file_hash
from listener.evaluate.engines.interface import Engine, ScoreTrack, build_track
from listener.evaluate.engines.provenance import digest_values
from listener.inference.catalogue import Catalogue
from listener.wakeword.manifest import DEFAULT_THRESHOLD, Model

OPENWAKEWORD: Final = "openwakeword"
MICROWAKEWORD: Final = "microwakeword"

_HINT: Final = "pip install 'earmark[peers]'"
_MICRO_PACKAGE: Final = "pymicro_wakeword"
_MICRO_CHUNK_SAMPLES: Final = 160


def import_package(name: str) -> Any:  # noqa: ANN401 - neither package ships types
    """Import a module.

    Raises:
        ConfigError: the module or one of its dependencies is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name.partition('.')[0]} cannot be imported: {error}", _HINT) from error


def find_package(name: str, distribution: str) -> Path:
    """Return the folder of a package without importing it.

    Args:
        name: name of the module.
        distribution: name of the installable package.

    Raises:
        ConfigError: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(f"{distribution} is not installed", _HINT)
    return Path(spec.origin).parent


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
    """openWakeWord's ``Model.predict``, 80 ms at a time; see ``Engine``."""

    patience_frames: Mapping[str, int] = MappingProxyType({})

    def __init__(self, models: list[Model]) -> None:
        """Load the models.

        Raises:
            ConfigError: the package is not installed.
        """
        # As in inference/onnx.py: telemetry is on by default; disable it before the first import.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        module = import_package("openwakeword.model")
        module.ort.disable_telemetry_events()
        self.words = tuple(model.name for model in models)
        self.thresholds = {
            model.name: model.manifest.threshold or DEFAULT_THRESHOLD for model in models
        }
        # The package reads files, and names its scores after them.
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Specified provider", UserWarning)
            paths = [Path(folder) / f"{model.name}.onnx" for model in models]
            for path, model in zip(paths, models, strict=True):
                path.write_bytes(model.data)
            self._model = module.Model(wakeword_model_paths=[str(path) for path in paths])
        # The constructor's own argument for this confuses the name of the model with a label.
        labels_by_word = {
            model.name: {str(index): f"{model.name} {index}" for index in model.manifest.labels}
            for model in models
        }
        self._model.class_mapping |= {
            word: labels for word, labels in labels_by_word.items() if labels
        }
        self._names = {
            word: tuple(labels.values()) or (word,) for word, labels in labels_by_word.items()
        }
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
        """Reset all state: the package's ``reset`` keeps the audio of the previous item."""
        features = self._model.preprocessor
        features.raw_data_buffer.clear()
        features.melspectrogram_buffer = np.ones((76, 32))
        features.accumulated_samples = 0
        features.feature_buffer = self._start.copy()
        self._model.reset()


def file_name(word: str) -> str:
    """Return the name of a word's files in microWakeWord, without their endings."""
    return word.replace("-", "_")


def models_folder() -> Path:
    """Return the folder of microWakeWord's models without importing the package.

    Raises:
        ConfigError: it is not installed.
    """
    return find_package(_MICRO_PACKAGE, "pymicro-wakeword") / "models"


class MicroWakeWord:
    """microWakeWord: the mean of the last probabilities, every 30 ms; see ``Engine``.

    Its authors compare the mean over a window with the threshold.
    """

    patience_frames: Mapping[str, int] = MappingProxyType({})

    def __init__(self, words: tuple[str, ...]) -> None:
        """Load the models.

        Raises:
            ConfigError: the package is not installed.
        """
        self._module = import_package(_MICRO_PACKAGE)
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
            if len(chunk) < _MICRO_CHUNK_SAMPLES:
                break
            for feature in features.process_streaming(chunk.tobytes()):
                scores = [model.process_streaming_prob(feature) for model in self._models]
                seen += 1
                # Between strides the package returns 0, which is not a score.
                if seen % self._stride == 0:
                    first_end = first_end or length
                    rows.append(scores)
        step_samples = self._stride * _MICRO_CHUNK_SAMPLES
        return build_track(self.words, rows, step_samples, first_end or step_samples, length)


def _chunks(blocks: Iterable[Samples]) -> Iterable[Samples]:
    """Yield chunks of 10 ms, and the remainder."""
    left = np.zeros(0, np.int16)
    for block in blocks:
        left = np.concatenate([left, block])
        whole = len(left) // _MICRO_CHUNK_SAMPLES * _MICRO_CHUNK_SAMPLES
        yield from left[:whole].reshape(-1, _MICRO_CHUNK_SAMPLES)
        left = left[whole:]
    if len(left):
        yield left


@dataclass(frozen=True, slots=True)
class PeerRecipe:
    """Recipe for an engine of another package; see ``EngineRecipe``."""

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
        """Load the models and build the engine.

        Raises:
            ConfigError: its package is not installed.
            ModelRefused: a model is missing, or has changed.
        """
        if self.kind == OPENWAKEWORD:
            catalogue = Catalogue(self.home)
            return OpenWakeWord([catalogue.load(word) for word in self.words])
        return MicroWakeWord(self.words)


def openwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Return the recipe of openWakeWord with models of Earmark's catalogue.

    Raises:
        ConfigError: the package is not installed.
        ModelRefused: a model is missing, or does not match its manifest.
    """
    catalogue = Catalogue(home)
    models = [catalogue.load(word) for word in words]
    hashes = tuple((model.name, model.manifest.sha256) for model in models)
    packages = package_versions(OPENWAKEWORD, "onnxruntime", "numpy")
    key = digest_values(OPENWAKEWORD, hashes, packages)
    return PeerRecipe(OPENWAKEWORD, name, home, words, key, hashes)


def microwakeword_recipe(name: str, home: Path, words: tuple[str, ...]) -> PeerRecipe:
    """Return the recipe of microWakeWord with the models of its package.

    Args:
        name: name of the engine in the results.
        home: not used; the other recipes have it.
        words: names of its models, with hyphens for underscores.

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
            raise UsageError(f"microWakeWord has no model {word}", f"choose one of {known}")
        hashes.append((word, file_hash(file)))
        # The threshold and the window are in a file beside the model.
        hashes.append((f"{word}.json", file_hash(file.with_suffix(".json"))))
    key = digest_values(MICROWAKEWORD, tuple(hashes), packages)
    return PeerRecipe(MICROWAKEWORD, name, home, words, key, tuple(hashes))
