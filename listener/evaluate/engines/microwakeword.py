"""microWakeWord's networks, driven as their makers drive them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import Samples
from listener.evaluate.engines.packages import find_package, import_package
from listener.evaluate.engines.track import ScoreTrack, build_track

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
