"""The two measurements: commands of voices, and other speech."""

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr

from benchmarks.assist.voices import speak
from listener.assist.understanding.command_recogniser import (
    CommandRecogniser,
    WitnessedSentence,
    WitnessLimits,
)
from listener.assist.understanding.home_actions import HOME_INTENTS, resolve
from listener.assist.understanding.home_file import HomeFile, parse_home_file
from listener.assist.understanding.local_recogniser import LocalRecogniser
from listener.assist.understanding.model_files import TOKENIZER, WEIGHTS, read_model_file
from listener.assist.understanding.sentences import HomeSentences
from listener.assist.understanding.text_tokens import TextTokens
from listener.assist.understanding.weights import parse_weights
from listener.assist.understanding.whisper import WhisperModel
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

_TRAILING_S: Final = 0.5
"""Silence before the endpoint, which a command copy has."""
_PIECE_S: Final = (1.5, 6.0)
_AFTER_WORD: Final = 0.7
_QUIET: Final = 1.0
_TARGET: Final = 0.95


@dataclass
class Count:
    """Commands of one voice in one condition."""

    right: int = 0
    other: int = 0
    """Changed something else."""
    refused: int = 0

    @property
    def all(self) -> int:
        """Return how many were said."""
        return self.right + self.other + self.refused


@dataclass
class AccuracyResult:
    """What both measurements found."""

    counts: dict[str, dict[str, Count]] = field(default_factory=dict)
    """By condition, then by voice."""
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    differences_right: list[float] = field(default_factory=list)
    differences_speech: list[float] = field(default_factory=list)
    speech_s: float = 0.0
    speech_clips: int = 0
    actions: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)
    """Condition, voice and sentence."""
    limits: WitnessLimits = field(default_factory=WitnessLimits)

    @property
    def is_met(self) -> bool:
        """Return whether the targets are met."""
        rights = [rate(counts) for counts in self.counts.values()]
        return all(right >= _TARGET for right in rights) and not self.actions


def rate(counts: dict[str, Count]) -> float:
    """Return the part of the commands of one condition that were right."""
    return sum(count.right for count in counts.values()) / sum(c.all for c in counts.values())


@dataclass(frozen=True)
class Setup:
    """What a measurement is made of.

    Attributes:
        plan: ``plan.toml``.
        home_text: the home file.
        folder: of the speech model.
        recordings: folder of real recordings, with noise, speech and the wake word.
        work: keeps clips of voices, and the result.
    """

    plan: dict[str, Any]
    home_text: str
    folder: Path
    recordings: Path
    work: Path


@dataclass(frozen=True)
class Found:
    """What was found in one clip."""

    change: list[str] | None
    """None where it was refused."""
    sentence: WitnessedSentence | None
    cpu_s: float
    wall_s: float


class Worker:
    """One process of the measurement."""

    def __init__(self, setup: Setup) -> None:
        self.plan = setup.plan
        self.home = parse_home_file(setup.home_text, "home")
        self.sentences = HomeSentences(self.home)
        self.recogniser = CommandRecogniser(
            self.home,
            WhisperModel(parse_weights(read_model_file(setup.folder, WEIGHTS))),
            TextTokens(read_model_file(setup.folder, TOKENIZER)),
        )
        self.limits = WitnessLimits()

    def find(self, clip: Samples) -> Found:
        """Recognise one clip."""
        started_s, cpu_s = time.monotonic(), time.process_time()
        found = self.recogniser.find(clip, self.plan["word"])
        cpu_s = time.process_time() - cpu_s
        wall_s = time.monotonic() - started_s
        if found is None or not self.limits.accept(found):
            return Found(None, found, cpu_s, wall_s)
        area = self.home.area_of(self.plan["device"])
        return Found(_change(self.sentences, self.home, found.text, area), found, cpu_s, wall_s)


_worker: list[Worker] = []


def _start_worker(setup: Setup) -> None:
    _worker.append(Worker(setup))


def _find(clip: Samples) -> Found:
    return _worker[0].find(clip)


def measure(setup: Setup, part: int, speech_s: float, processes: int) -> AccuracyResult:
    """Run both measurements.

    Args:
        setup: what they are made of.
        part: measure each ``part``-th command only.
        speech_s: length of other speech.
        processes: number of processes that work at once.
    """
    result = AccuracyResult()
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_start_worker, initargs=(setup,)
    ) as pool:
        _measure_commands(setup, pool, part, result)
        _measure_speech(setup, pool, speech_s, result)
    _measure_process(setup, result)
    (setup.work / "result.json").write_text(json.dumps(dataclasses.asdict(result)))
    return result


def _measure_commands(setup: Setup, pool: Executor, part: int, result: AccuracyResult) -> None:
    plan = setup.plan
    noises = [_read(path) for path in sorted((setup.recordings / "noise").rglob("*.opus"))]
    every = [
        (engine, voice, text)
        for engine, voices in plan["voices"].items()
        for voice in voices
        for text in plan["sentences"]
    ]
    said, clips = [], []
    for number, (engine, voice, text) in list(enumerate(every))[::part]:
        spoken = speak(engine, voice, f"{plan['word'].capitalize()}, {text}.", setup.work / "clips")
        clean = np.concatenate([spoken, np.zeros(int(_TRAILING_S * SAMPLE_RATE_HZ), np.int16)])
        random = np.random.default_rng([plan["seed"], number])
        noisy = _add_noise(clean, len(spoken), noises, plan["snr_db"], random)
        for condition, clip in (("clean", clean), (f"{plan['snr_db']} dB", noisy)):
            said.append((condition, f"{engine} {voice}", text))
            clips.append(clip)
    answers = zip(said, pool.map(_find, clips), strict=True)
    for number, ((condition, voice, text), found) in enumerate(answers):
        if not number % 40:
            print(f"{number} of {len(clips)} clips", flush=True)
        count = result.counts.setdefault(condition, {}).setdefault(voice, Count())
        result.cpu_s.append(found.cpu_s)
        result.wall_s.append(found.wall_s)
        if found.change == plan["sentences"][text] and found.sentence is not None:
            count.right += 1
            result.differences_right.append(found.sentence.difference)
            continue
        count.refused += found.change is None
        count.other += found.change is not None
        result.wrong.append((condition, voice, text))
        heard = "" if found.sentence is None else found.sentence
        print(condition, voice, text, "->", found.change, heard, flush=True)


def _change(sentences: HomeSentences, home: HomeFile, text: str, area: str | None) -> list[str]:
    """Return what a text changes, in the plan's words."""
    intent = sentences.match(text, area)
    if intent is None:
        return []
    if intent.name in HOME_INTENTS:
        return [f"{one.topic} {one.payload}" for one in resolve(intent, home, area).messages]
    if intent.name == "HassStartTimer":
        units = (("hours", 3600), ("minutes", 60), ("seconds", 1))
        length_s = sum(int(intent.slots.get(name, 0)) * unit for name, unit in units)
        return [f"timer of {length_s} s"]
    words = {
        "HassCancelTimer": "cancel",
        "HassTimerStatus": "left",
        "HassGetCurrentTime": "time",
        "HassGetCurrentDate": "date",
        "HassNevermind": "nothing",
    }
    return [words.get(intent.name, intent.name)]


def _add_noise(
    clean: Samples,
    spoken: int,
    noises: list[Samples],
    snr_db: float,
    random: np.random.Generator,
) -> Samples:
    noise = noises[random.integers(len(noises))]
    at = int(random.integers(max(1, len(noise) - len(clean))))
    cut = np.resize(noise[at : at + len(clean)], len(clean)).astype(np.float64)
    power = float(np.mean(clean[:spoken].astype(np.float64) ** 2))
    loudness = float(np.mean(cut**2)) + _QUIET
    mixed = clean + cut * np.sqrt(power / loudness / 10 ** (snr_db / 10))
    noisy: Samples = np.clip(mixed, -32_768, 32_767).astype(np.int16)
    return noisy


def _measure_speech(setup: Setup, pool: Executor, speech_s: float, result: AccuracyResult) -> None:
    plan = setup.plan
    random = np.random.default_rng(plan["seed"])
    folder = setup.recordings / "positive" / plan["word"]
    words = [_read(path) for path in sorted(folder.glob("*.flac"))]
    clips = []
    for piece in _pieces(setup.recordings, random):
        if result.speech_s >= speech_s:
            break
        result.speech_s += len(piece) / SAMPLE_RATE_HZ
        has_word = random.random() < _AFTER_WORD
        word = words[random.integers(len(words))]
        clips.append(np.concatenate([word, piece]) if has_word else piece)
    result.speech_clips = len(clips)
    for number, found in enumerate(pool.map(_find, clips)):
        if found.sentence is not None:
            result.differences_speech.append(found.sentence.difference)
        if found.change is not None:
            result.actions += 1
            print("other speech ->", found.change, found.sentence, flush=True)
        if not number % 100:
            print(f"{number} of {len(clips)} pieces, {result.actions} actions", flush=True)


def _pieces(recordings: Path, random: np.random.Generator) -> Iterator[Samples]:
    """Yield pieces of speech of 1.5 to 6 s, from all recordings in turn."""
    streams = [_read(path) for path in sorted((recordings / "negative").rglob("*.opus"))]
    places = [0] * len(streams)
    while any(place < len(stream) for place, stream in zip(places, streams, strict=True)):
        for number, stream in enumerate(streams):
            length = int(random.uniform(*_PIECE_S) * SAMPLE_RATE_HZ)
            piece = stream[places[number] : places[number] + length]
            places[number] += length
            if len(piece) >= SAMPLE_RATE_HZ:
                yield piece


def _measure_process(setup: Setup, result: AccuracyResult) -> None:
    """Measure the memory of the process, as assist runs it."""
    plan, work = setup.plan, setup.work
    recogniser = LocalRecogniser(setup.home_text, setup.folder)
    try:
        recogniser.start()
        process_id = recogniser.process_id
        clip = speak("espeak-ng", "en-us", "Alexa, turn on the kitchen light.", work / "clips")
        longest = np.resize(clip, 15 * SAMPLE_RATE_HZ)
        for samples in (clip, longest):
            recogniser.recognise(samples, plan["word"], is_final=True)
        status = Path(f"/proc/{process_id}/status").read_text()
        peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        result.peak_mib = int(peak_kib) / 1024
    finally:
        recogniser.close()


def _read(path: Path) -> Samples:
    sound, rate_hz = soundfile.read(path, dtype="int16")
    if rate_hz != SAMPLE_RATE_HZ:
        resampled = soxr.resample(sound.astype(np.float32), rate_hz, SAMPLE_RATE_HZ)
        sound = np.clip(resampled, -32_768, 32_767).astype(np.int16)
    samples: Samples = sound
    return samples


def processors() -> str:
    """Return the load and the processors, for the page."""
    return f"{os.cpu_count()} processors, load {os.getloadavg()[1]:.1f}"
