"""openWakeWord's own code, driven as its makers drive it."""

import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Framer, Samples
from listener.evaluate.engines.packages import import_package
from listener.evaluate.engines.track import ScoreTrack, build_track
from listener.wakeword.manifest import DEFAULT_THRESHOLD, Model


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
