"""Fix the bounds of the first stage, and measure how many words it loses; write the manifest.

Run it with ``python -m models.first_stage.measure AUDIO [FOLDER]``. A bound of a word is the score
on the student's embeddings at which it would be open in a part of the steps of speech of the half
of the recordings that fixes thresholds, by one head alone: by its student head and its own head in
`SHARES` or those of `WORD_SHARES`. It opens where both reach their bounds. Then words are played in
five
conditions, and those that wake without the first stage are counted, and those that no longer wake
with it. Real recordings of a word are used where AUDIO has them
(``positive/``); they train nothing and fix no bound. For every word there are synthetic clips, by
the same voices, that the student was not trained with. With ``--added`` the words that ``earmark
train --first-stage`` added are measured with their own bounds. ``--steps`` prints the part of the
steps of that speech, and of noise without speech, at which the embedding network runs, for each
shipped word and for all of them.
"""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.evaluate.corpus.augmentation import Condition, Mixer, choose_mix
from listener.inference.catalogue import ADDED_FIRST_STAGE, FIRST_STAGE, MANIFEST, Catalogue
from listener.inference.onnx import HeadNet
from listener.storage.recordings import open_recording
from listener.train.bounds import (
    WEIGHTS,
    Pair,
    fix_word,
    open_share,
    pack_first_stage,
    reach_bounds,
    score_by_student,
)
from listener.train.clips import plan_clips, speak_clips
from listener.train.negatives import THRESHOLD
from listener.train.voices.engine import VoiceEngine
from listener.train.voices.registry import find_engines
from listener.wakeword.embedding import STEP_FRAMES
from listener.wakeword.features import Floats
from listener.wakeword.first_stage import CatchUp, Mask, OpenSteps
from listener.wakeword.manifest import KnownWord, Model, parse_manifest, to_toml
from listener.wakeword.streaming import LAZY_WINDOW_FRAMES, pace_steps, reach_steps
from listener.wakeword.student import StudentWeights, read_weights
from models.first_stage.heads import head_path
from models.first_stage.train import ENGINES, FOLDER, SPOKEN, play, say
from models.negatives.make import SPLIT, read_sources

REAL: Final[Mapping[str, str]] = {"alexa": "positive/alexa", "hey-jarvis": "positive/jarvis"}
"""Folders with recordings of a word. Those for hey-jarvis say "jarvis": some of them wake it."""
SHARES: Final = (0.02, 0.06)
"""Part of the steps of speech at which a word would be open by its student head alone, and by its
own head alone."""
WORD_SHARES: Final[Mapping[str, tuple[float, float]]] = {
    "alexa": (0.1, 0.01),
    "hey-lumen": (0.02, 0.03),
    "hey-marvin": (0.1, 0.01),
    "timer": (0.04, 0.06),
}
"""The same for words that lose none with a smaller part, or fewer with a larger one."""
SPEECH_S: Final = 120
"""Speech of each recording that fixes bounds, from its beginning."""
SYNTHETIC_CLIPS: Final = 21
SEED: Final = 1001
_LEAD_SAMPLES: Final = 24_000
_TAIL_SAMPLES: Final = 12_800
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


def synthesize_clips(engines: Sequence[VoiceEngine], texts: Sequence[str]) -> dict[str, Samples]:
    """Return synthetic clips of a word that the student was not trained with."""
    plan = plan_clips(
        "word", texts, [e.name for e in engines if e.name in ENGINES], SYNTHETIC_CLIPS
    )
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
    parser.add_argument(
        "--word", action="append", help="measure these words, and keep the entries of the others"
    )
    parser.add_argument(
        "--added",
        action="store_true",
        help="measure the words that earmark train added in --home; fix and write nothing",
    )
    parser.add_argument(
        "--steps", action="store_true", help="print the steps computed; fix and write nothing"
    )
    arguments = parser.parse_args()
    audio: Path = arguments.audio
    catalogue = Catalogue(arguments.home)
    engines, _ = find_engines(arguments.home)
    chosen = conditions(audio)
    sources = [source for source in read_sources(audio) if source.half == THRESHOLD]
    speech, noise = (
        [
            source.samples[: SPEECH_S * SAMPLE_RATE_HZ]
            for source in sources
            if source.name.startswith("noise/") == is_noise
        ]
        for is_noise in (False, True)
    )
    if arguments.added:
        measure_added(catalogue, engines, audio, speech, arguments.word or ())
        return
    data = (arguments.folder / WEIGHTS).read_bytes()
    weights = read_weights(data, WEIGHTS)
    if arguments.steps:
        known = _read_known(arguments.folder / MANIFEST, data)
        for kind, sounds in (("speech", speech), ("noise", noise)):
            say(f"{kind}:")
            measure_steps(catalogue, known, weights, sounds, _read_heads(arguments.folder))
        return
    known = _read_known(arguments.folder / MANIFEST, data) if arguments.word else {}
    heads = _read_heads(arguments.folder)
    contents = {WEIGHTS: data, **heads}
    for name in arguments.word or [w for w in SPOKEN if w in catalogue.names()]:
        word = catalogue.load(name)
        path = head_path(name)
        scores = _score(catalogue, word, weights, speech, heads[path])
        entry = fix_word(word, scores, WORD_SHARES.get(name, SHARES), path)
        stage = pack_first_stage(FIRST_STAGE, contents, {name: entry}, _ORIGIN)
        pair = Pair(catalogue, word, stage)
        clips = _read_sets(audio, name, synthesize_clips(engines, SPOKEN[name]))
        woken, lost = _measure(pair, name, clips, chosen)
        opened = f"open in {entry.speech_share:.2%} of speech"
        say(f"{name}: bound {entry.bound}, {opened}, {lost} of {woken} lost")
        known[name] = msgspec.structs.replace(
            entry, woken=woken, lost=lost, spoken=tuple(dict.fromkeys(SPOKEN[name]))
        )
    words = {name: known[name] for name in SPOKEN if name in known}
    manifest = pack_first_stage(FIRST_STAGE, contents, words, _ORIGIN).manifest
    (arguments.folder / MANIFEST).write_text(to_toml(manifest), "utf-8")


def measure_steps(
    catalogue: Catalogue,
    known: Mapping[str, KnownWord],
    weights: StudentWeights,
    sounds: Sequence[Samples],
    heads: Mapping[str, bytes],
) -> None:
    """Print at which part of the steps a device runs the embedding network, and a word is open.

    Args:
        catalogue: has the heads.
        known: the shipped words with their bounds.
        weights: of the student.
        sounds: recordings without the words; no step of them counts as that of a quiet room.
        heads: files of student heads by path.
    """
    reached = {}
    windows = {}
    turn_windows = {}
    for name, entry in known.items():
        word = catalogue.load(name)
        head = None if entry.head is None else heads[entry.head]
        scores = _score(catalogue, word, weights, sounds, head)
        bounds = _bounds(entry)
        reached[name] = list(reach_bounds(scores[: len(bounds)], bounds))
        windows[name] = HeadNet(word.data, name).window_frames
        turn_windows[name] = windows[name] if head is None else None
    for names in [*([name] for name in known), list(known)]:
        window = min(max(windows[name] for name in names), LAZY_WINDOW_FRAMES)
        reach = reach_steps(window, STEP_FRAMES)
        opened = computed = steps = 0
        for recording in zip(*(reached[name] for name in names), strict=True):
            schedule = CatchUp(reach, pace_steps(reach, 1))
            stage = OpenSteps([turn_windows[name] for name in names])
            mask: Mask = np.logical_or.reduce(stage.push(np.concatenate(recording, axis=1)), axis=1)
            for is_open in mask.tolist():
                schedule.push(is_open=is_open)
            opened += int(mask.sum())
            steps += len(mask)
            computed += schedule.computed_steps
        say(f"{', '.join(names)}: computed {computed / steps:.1%}, open {opened / steps:.1%}")


def measure_added(
    catalogue: Catalogue,
    engines: Sequence[VoiceEngine],
    audio: Path,
    speech: Sequence[Samples],
    names: Sequence[str],
) -> None:
    """Print what the first stage to which ``earmark train`` added words loses of these words.

    Args:
        catalogue: has it.
        engines: voices.
        audio: folder of recordings.
        speech: recordings without the words, which fixed the bounds of the shipped first stage.
        names: words; empty: all that were added.
    """
    stage = catalogue.load(ADDED_FIRST_STAGE)
    weights = read_weights(stage.data, stage.name)
    files = dict(zip((f.path for f in stage.manifest.files), stage.contents, strict=True))
    shipped = catalogue.manifest(FIRST_STAGE).words
    for name in names or [each for each in stage.manifest.words if each not in shipped]:
        entry, word = stage.manifest.words[name], catalogue.load(name)
        clips = _read_sets(audio, name, synthesize_clips(engines, entry.spoken))
        woken, lost = _measure(Pair(catalogue, word, stage), name, clips, conditions(audio))
        head = None if entry.head is None else files[entry.head]
        scores = _score(catalogue, word, weights, speech, head)
        bounds = _bounds(entry)
        opened = f"open in {open_share(scores[: len(bounds)], bounds):.2%} of speech"
        say(f"{name}: bound {entry.bound}, {opened}, {lost} of {woken} lost")


def _score(
    catalogue: Catalogue,
    word: Model,
    weights: StudentWeights,
    speech: Sequence[Samples],
    head: bytes | None,
) -> list[list[Floats]]:
    """Return the scores of a word's heads on the student's embeddings, its student head first."""
    chosen = (None,) if head is None else (head, None)
    return [score_by_student(catalogue, word, weights, speech, each) for each in chosen]


def _bounds(entry: KnownWord) -> list[float]:
    """Return the bounds of a word, that of its student head first."""
    return [bound for bound in (entry.bound, entry.own_bound) if bound is not None]


def _read_sets(
    audio: Path, name: str, synthetic: dict[str, Samples]
) -> dict[str, dict[str, Samples]]:
    """Return the clips of a word by kind: synthetic, and real where there are any."""
    sets = {"synthetic": synthetic}
    if name in REAL:
        sets["real"] = read_clips(audio / REAL[name])
    return sets


def _measure(
    pair: Pair, name: str, sets: Mapping[str, Mapping[str, Samples]], chosen: Sequence[Condition]
) -> tuple[int, int]:
    """Print each loss of a word; return the words woken and lost in all."""
    woken = lost = 0
    for kind, clips in sets.items():
        for loss in lose(pair, clips, chosen):
            say(f"{name} {kind} {loss.condition}: {loss.lost} of {loss.woken} lost")
            woken += loss.woken
            lost += loss.lost
    return woken, lost


def _read_heads(folder: Path) -> dict[str, bytes]:
    """Return the files of the student heads by path."""
    return {head_path(word): (folder / head_path(word)).read_bytes() for word in SPOKEN}


def _read_known(file: Path, data: bytes) -> dict[str, KnownWord]:
    """Return the entries of a manifest that belong to some weights; none if there is none."""
    if not file.is_file():
        return {}
    manifest = parse_manifest(file.read_text("utf-8"), str(file))
    is_same = manifest.files[0].sha256 == hashlib.sha256(data).hexdigest()
    return dict(manifest.words) if is_same else {}


if __name__ == "__main__":
    main()
