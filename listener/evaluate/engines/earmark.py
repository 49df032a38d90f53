"""Earmark's models as an engine: in batches, or with the device's detector step by step."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Framer, Gap, GapReason, Samples
from listener.config import WakeSettings
from listener.errors import ModelRefused, UsageError
from listener.evaluate.engines.interface import Engine, Scores, ScoreTrack
from listener.evaluate.engines.provenance import (
    PACKAGES,
    SCORING,
    code_hash,
    digest_values,
    versions,
)
from listener.inference.build import FirstStageModels, build_batch, build_detector
from listener.inference.catalogue import Catalogue
from listener.wakeword.batch import BATCH_STEPS
from listener.wakeword.detector import StreamDetector
from listener.wakeword.manifest import DEFAULT_THRESHOLD, Model
from listener.wakeword.second_opinion import RecordingModel

HOP_MS: Final = 80
"""The only hop that the batch engine supports."""


@dataclass(frozen=True, slots=True)
class EarmarkRecipe:
    """Recipe for models of the catalogue; see ``EngineRecipe``."""

    name: str
    home: Path
    words: tuple[str, ...]
    hop_ms: int
    stepwise: bool
    key: str
    model_hashes: tuple[tuple[str, str], ...]
    first_stage: bool = False
    second_opinion: bool = True

    def hashes(self) -> Mapping[str, str]:
        """See ``EngineRecipe.hashes``."""
        return dict(self.model_hashes)

    def build(self) -> Engine:
        """Load the models and build the engine.

        Raises:
            ModelRefused: a model is missing, or has changed.
        """
        catalogue = Catalogue(self.home)
        words = [catalogue.load(word) for word in self.words]
        thresholds = {word.name: word.manifest.threshold or DEFAULT_THRESHOLD for word in words}
        patience = {word.name: word.manifest.patience_frames or 1 for word in words}
        first_stage = _load_first_stage(catalogue, words) if self.first_stage else None
        opinions = catalogue.second_opinions(words) if self.second_opinion else ()
        if not self.stepwise:
            batch = build_batch(
                words,
                catalogue.embedding(),
                catalogue.long_embedding(),
                first_stage=first_stage,
                opinions=opinions,
            )
            return BatchEngine(batch, thresholds, patience)
        settings = WakeSettings(
            words=self.words, lazy=False, hop_ms=80 if self.hop_ms == HOP_MS else 40
        )
        stage = None
        if first_stage is not None:
            stage = FirstStageModels(first_stage, catalogue.long_embedding())
        detector = build_detector(words, catalogue.embedding(), settings, stage, opinions)
        return StepEngine(detector, self.words, thresholds, patience)


def earmark_recipe(  # noqa: PLR0913 - the keys of an engine in a plan
    name: str,
    home: Path,
    words: tuple[str, ...],
    hop_ms: int = HOP_MS,
    *,
    stepwise: bool = False,
    first_stage: bool = False,
    second_opinion: bool = True,
) -> EarmarkRecipe:
    """Return the recipe of an engine.

    Args:
        name: name of the engine in the results.
        home: data directory with added models.
        words: names of wake-word models.
        hop_ms: time between scores, 80 or 40; 40 uses the device's detector step by step.
        stepwise: use the device's detector at 80 ms also, at about half the speed.
        second_opinion: ask the second network of a word whose model names one.
        first_stage: give a score of 0 to the steps that a device with a first stage skips.

    Raises:
        ModelRefused: a model is missing, or does not match its manifest; no first stage was
            trained for all words.
        UsageError: a model is not a wake-word model.
    """
    catalogue = Catalogue(home)
    models = [catalogue.load(word) for word in words]
    for model in models:
        if model.manifest.kind != "wake-word":
            raise UsageError(
                f"{model.name} is not a wake-word model", "list the kinds: earmark models list"
            )
    stepwise = stepwise or hop_ms != HOP_MS
    shared = [catalogue.embedding()]
    if first_stage or not stepwise:
        shared.append(catalogue.long_embedding())
    if second_opinion:
        shared += catalogue.second_opinions(models)
    if first_stage:
        shared.append(_load_first_stage(catalogue, models))
    hashes = tuple((model.name, _model_hash(model)) for model in (*models, *shared))
    # The bounds stand in the manifest.
    bounds = tuple(sorted((n, w.bound) for m in shared for n, w in m.manifest.words.items()))
    asked = tuple(repr(each.manifest.second_opinion) for each in models if second_opinion)
    installed = versions()
    packages = tuple((package, installed.get(package)) for package in PACKAGES)
    key = digest_values(
        "earmark", hashes, bounds, asked, hop_ms, stepwise, code_hash(SCORING), packages
    )
    return EarmarkRecipe(
        name, home, words, hop_ms, stepwise, key, hashes, first_stage, second_opinion
    )


def _load_first_stage(catalogue: Catalogue, words: Sequence[Model]) -> Model:
    first_stage = catalogue.first_stage(words)
    if first_stage is None:
        names = ", ".join(word.name for word in words)
        raise ModelRefused(f"there is no first stage that was trained for {names}")
    return first_stage


class BatchEngine:
    """Engine that scores many steps at once; see ``Engine``."""

    def __init__(
        self,
        model: RecordingModel,
        thresholds: Mapping[str, float],
        patience_frames: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._model = model
        self.words = model.words
        self.thresholds = dict(thresholds)
        self.patience_frames = dict(patience_frames)

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``."""
        self._model.restart()
        length, parts = 0, [np.zeros((0, len(self.words)), np.float32)]
        for block in _rechunk(blocks, BATCH_STEPS * FRAME_SAMPLES):
            length += len(block)
            whole = len(block) // FRAME_SAMPLES * FRAME_SAMPLES
            if whole:
                # A step that a first stage skips would score below every threshold.
                parts.append(np.nan_to_num(self._model.push(block[:whole])))
        return _track(self.words, np.concatenate(parts), FRAME_SAMPLES, length)


class StepEngine:
    """Engine that runs the device's detector; see ``Engine``."""

    def __init__(
        self,
        detector: StreamDetector,
        words: tuple[str, ...],
        thresholds: Mapping[str, float],
        patience_frames: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._detector = detector
        self.words = words
        self.thresholds = dict(thresholds)
        self.patience_frames = dict(patience_frames)

    def track(self, blocks: Iterable[Samples]) -> ScoreTrack:
        """See ``Engine.track``."""
        self._detector.push(Gap(GapReason.START, 0))
        framer, length = Framer(), 0
        step_samples = self._detector.step_samples
        parts = [np.zeros((0, len(self.words)), np.float32)]
        for block in blocks:
            length += len(block)
            for frame in framer.push(block):
                self._detector.push(frame)
                rows = [
                    [step.scores.get(word, 0.0) for word in self.words]
                    for step in self._detector.steps
                ]
                parts.append(np.array(rows, np.float32).reshape(-1, len(self.words)))
        return _track(self.words, np.concatenate(parts), step_samples, length)


def _track(words: tuple[str, ...], scores: Scores, step_samples: int, length: int) -> ScoreTrack:
    return ScoreTrack(words, scores, step_samples, step_samples, length)


def _rechunk(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """Yield blocks of ``size`` samples, and the remainder."""
    buffer, filled = np.empty(size, np.int16), 0
    for block in blocks:
        read = 0
        while read < len(block):
            take = min(size - filled, len(block) - read)
            buffer[filled : filled + take] = block[read : read + take]
            filled += take
            read += take
            if filled == size:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


def _model_hash(model: Model) -> str:
    """Return the SHA-256 of a model's file, or one over those of all its files."""
    files = model.manifest.files
    if len(files) == 1:
        return files[0].sha256
    return digest_values(*(file.sha256 for file in files))
