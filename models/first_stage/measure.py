"""Fix the bounds of the first stage, and measure how many words it loses; write the manifest.

Run it with ``python -m models.first_stage.measure AUDIO [FOLDER]``. The bound of a word is the
score of its head on the student's embeddings that `SPEECH_SHARE` of the steps of speech reach, with
the steps that a word stays open: speech of the half of the recordings that fixes thresholds. Then
words are played in five conditions, and those that wake without the first stage are counted, and
those that no longer wake with it. Real recordings of a word are used where AUDIO has them
(``positive/``); they train nothing and fix no bound. For every word there are synthetic clips, by
the same voices, that the student was not trained with.
"""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import FRAME_SAMPLES, Samples
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.inference.build import build_batch, build_student_batch
from listener.inference.catalogue import Catalogue
from listener.storage.recordings import open_recording
from listener.train.clips import plan_clips, speak_clips
from listener.train.negatives import THRESHOLD
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.registry import find_engines
from listener.wakeword.batch import BATCH_STEPS, BatchModel
from listener.wakeword.detector import Rule, Trigger, Wake
from listener.wakeword.features import Floats
from listener.wakeword.first_stage import OpenSteps
from listener.wakeword.manifest import DEFAULT_THRESHOLD, File, KnownWord, Manifest, Model, to_toml
from listener.wakeword.student import read_weights
from models.first_stage.train import FOLDER, SPOKEN, WEIGHTS, play
from models.negatives.make import SPLIT, read_sources

SPEECH_SHARE: Final = 0.04
"""Part of the steps of speech at which a word is open."""
REAL: Final[Mapping[str, str]] = {"alexa": "positive/alexa", "hey-jarvis": "positive/jarvis"}
"""Folders with recordings of a word. Those for hey-jarvis say "jarvis": some of them wake it."""
SYNTHETIC_CLIPS: Final = 60
SEED: Final = 1001
_LEAD_SAMPLES: Final = 24_000
_TAIL_SAMPLES: Final = 12_800
_LOWEST_BOUND: Final = 1e-12
_ORIGIN: Final = (
    "Earmark's own, trained by models/first_stage/train.py on the embeddings of models/embedding"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """Words of one kind in one condition."""

    condition: str
    woken: int
    """Words that wake without the first stage."""
    lost: int
    """Those of them that do not wake with it."""


class Pair:
    """Scores of one word without and with a first stage. Not safe for use by several threads."""

    def __init__(self, catalogue: Catalogue, word: Model, first_stage: Model) -> None:
        """Load the networks.

        Args:
            catalogue: has the embedding networks.
            word: the wake word.
            first_stage: knows the word.
        """
        networks = catalogue.embedding(), catalogue.long_embedding()
        self._models = (
            build_batch([word], *networks),
            build_batch([word], *networks, first_stage=first_stage),
        )
        threshold = word.manifest.threshold or DEFAULT_THRESHOLD
        self._rule = Rule(threshold)
        self._word = word.name

    def wakes(self, samples: Samples) -> tuple[bool, bool]:
        """Return whether a recording wakes without the first stage, and with it."""
        without, with_it = (self._wakes(score(model, samples)) for model in self._models)
        return without, with_it

    def _wakes(self, scores: Floats) -> bool:
        trigger = Trigger(self._word, self._rule)
        events = [
            trigger.push(value, (step + 1) * FRAME_SAMPLES)
            for step, value in enumerate(np.nan_to_num(scores[:, 0]).tolist())
        ]
        return any(isinstance(event, Wake) for event in events)


def score(model: BatchModel, samples: Samples) -> Floats:
    """Return the scores of a recording, shape (steps, words), from the start of a stream."""
    model.restart()
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    size = BATCH_STEPS * FRAME_SAMPLES
    return np.concatenate(
        [model.push(whole[i : i + size]).copy() for i in range(0, len(whole), size)]
    )


def conditions(audio: Path) -> tuple[Condition, ...]:
    """Return the five conditions: noises of the half that fixes thresholds, and rooms."""
    noises = tuple(
        audio / name
        for name, half in SPLIT.items()
        if half == THRESHOLD and name.startswith("noise/")
    )
    rooms = tuple(sorted((audio / "rir").iterdir()))
    noisy = (Condition(f"{snr} dB", float(snr), noises) for snr in (20, 10, 5))
    return (Condition(), *noisy, Condition("room", rooms=rooms))


def lose(pair: Pair, clips: Mapping[str, Samples], chosen: Sequence[Condition]) -> Iterator[Loss]:
    """Yield the words woken and lost in each condition.

    Args:
        pair: scores without and with the first stage.
        clips: recordings of the word by name, each played once in each condition.
        chosen: the conditions.
    """
    mixer = Mixer()
    for condition in chosen:
        woken = lost = 0
        for name, clip in clips.items():
            silence = np.random.default_rng(SEED).integers(-3, 4, _LEAD_SAMPLES).astype(np.int16)
            padded = np.concatenate([silence, clip, silence[:_TAIL_SAMPLES]])
            choice = choose_mix(condition, SEED, name, 0)
            played = np.concatenate(list(mixer.mix(partial(play, padded), choice)))
            without, with_it = pair.wakes(played)
            woken += without
            lost += without and not with_it
        yield Loss(condition.name, woken, lost)


def fix_bound(student_scores: Sequence[Floats], share: float) -> float:
    """Return the highest bound at which at least ``share`` of the steps are open.

    Args:
        student_scores: scores of the head on the student's embeddings, by recording, shape
            (steps, 1).
        share: part of the steps, 0 to 1.
    """
    low, high = np.log(_LOWEST_BOUND), 0.0
    total = sum(map(len, student_scores))
    for _ in range(40):
        middle = (low + high) / 2
        if open_share(student_scores, float(np.exp(middle))) * total >= share * total:
            low = middle
        else:
            high = middle
    return float(f"{np.exp(low):.3g}")


def open_share(student_scores: Sequence[Floats], bound: float) -> float:
    """Return the part of the steps at which a word with this bound is open."""
    opened = 0
    for scores in student_scores:
        opened += int(OpenSteps([bound]).push(scores).sum())
    return opened / sum(map(len, student_scores))


def load_student(folder: Path, words: Mapping[str, KnownWord]) -> Model:
    """Return the first stage of a folder's weights with a manifest for some words."""
    data = (folder / WEIGHTS).read_bytes()
    file = File(path=WEIGHTS, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    return Model(
        Manifest(
            name="first-stage",
            kind="first-stage",
            origin=_ORIGIN,
            licence="Apache-2.0",
            input_shape=(1, 1, 8, 32),
            files=(file,),
            words=dict(words),
        ),
        (data,),
    )


def synthesize_clips(engines: Sequence[VoiceEngine], word: str) -> dict[str, Samples]:
    """Return synthetic clips of a word that the student was not trained with."""
    plan = plan_clips("word", SPOKEN[word], [e.name for e in engines], SYNTHETIC_CLIPS)
    return {
        f"{clip.request.engine} {clip.request.number}": clip.speech.samples
        for clip in speak_clips(plan, engines, SEED)
    }


def read_clips(folder: Path) -> dict[str, Samples]:
    """Return the recordings of a folder by name."""
    clips = {}
    for file in sorted(folder.iterdir()):
        with open_recording(file) as recording:
            samples = recording.read(recording.length_samples)
        if samples is not None:
            clips[file.name] = samples
    return clips


def main() -> None:
    """Fix the bounds, measure, print, and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("audio", type=Path, help="folder of recordings with manifest.json")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="of the weights")
    parser.add_argument("--home", type=Path, default=Path(), help="data directory with voices")
    parser.add_argument("--share", type=float, default=SPEECH_SHARE)
    parser.add_argument("--word", action="append", help="measure only these words")
    arguments = parser.parse_args()
    audio: Path = arguments.audio
    catalogue = Catalogue(arguments.home)
    engines, _ = find_engines(arguments.home, "fast")
    chosen = conditions(audio)
    speech = [
        source.samples
        for source in read_sources(audio)
        if source.half == THRESHOLD and not source.name.startswith("noise/")
    ]
    weights = read_weights((arguments.folder / WEIGHTS).read_bytes(), WEIGHTS)
    known: dict[str, KnownWord] = {}
    for name in arguments.word or [w for w in SPOKEN if w in catalogue.names()]:
        word = catalogue.load(name)
        student = build_student_batch([word], catalogue.embedding(), weights)
        scores = [score(student, samples) for samples in speech]
        bound = fix_bound(scores, arguments.share)
        share = round(open_share(scores, bound), 4)
        entry = KnownWord(sha256=word.manifest.sha256, bound=bound, speech_share=share)
        pair = Pair(catalogue, word, load_student(arguments.folder, {name: entry}))
        sets = {"synthetic": synthesize_clips(engines, name)}
        if name in REAL:
            sets["real"] = read_clips(audio / REAL[name])
        woken = lost = 0
        for kind, clips in sets.items():
            for loss in lose(pair, clips, chosen):
                _say(f"{name} {kind} {loss.condition}: {loss.lost} of {loss.woken} lost")
                woken += loss.woken
                lost += loss.lost
        _say(f"{name}: bound {bound}, open in {share:.2%} of speech, {lost} of {woken} lost")
        known[name] = KnownWord(
            sha256=word.manifest.sha256, bound=bound, speech_share=share, woken=woken, lost=lost
        )
    manifest = load_student(arguments.folder, known).manifest
    (arguments.folder / "manifest.toml").write_text(to_toml(manifest), "utf-8")


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - progress of a program


if __name__ == "__main__":
    main()
