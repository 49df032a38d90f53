"""Audio of the benchmarks: speech, a quiet room, digital silence; the same for each engine."""

import json
import os
import tomllib
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable

ROOT: Final = Path(__file__).resolve().parents[1]
FIXTURES: Final = ROOT / "tests" / "fixtures"
SEED: Final = 20_260
EXCERPT_S: Final = 5


def recordings_folder() -> Path | None:
    """Return the folder of real recordings: EARMARK_RECORDINGS or a default; None if missing."""
    configured = os.environ.get("EARMARK_RECORDINGS")
    folder = Path(configured) if configured else ROOT.parent / "shared" / "audio"
    return folder if (folder / "manifest.json").is_file() else None


def speech(seconds: float) -> tuple[Samples, str]:
    """Return ``seconds`` of real or synthetic speech, and a description of it."""
    folder = recordings_folder()
    if folder is not None:
        return _recorded(folder, seconds), "real recordings, talk with the wake word in between"
    return _synthetic(seconds), "a speech synthesiser, from tests/fixtures"


def quiet_room(seconds: float) -> Samples:
    """Return a room without speech: noise of 5 to 10 LSB rms with a slow drift."""
    random = np.random.default_rng(SEED)
    count = round(seconds * SAMPLE_RATE_HZ)
    time_s = np.arange(count) / SAMPLE_RATE_HZ
    rms = 7.5 + 2.5 * np.sin(2 * np.pi * time_s / 23)
    return np.rint(random.standard_normal(count) * rms).astype(np.int16)


def silence(seconds: float) -> Samples:
    """Return digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16)


def _recorded(folder: Path, seconds: float) -> Samples:
    """Return excerpts of talk in alternation with clips of the word, with a fixed seed."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    words = [clip["file"] for clip in manifest["clips"] if clip["label"] == "alexa"]
    talk = [each["file"] for each in manifest["streams"] if each["group"].startswith("negative/l")]
    random = np.random.default_rng(SEED)
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE_HZ:
        stream = _read(folder / talk[random.integers(len(talk))])
        first = random.integers(len(stream) - EXCERPT_S * SAMPLE_RATE_HZ)
        parts.append(stream[first : first + EXCERPT_S * SAMPLE_RATE_HZ])
        parts.append(_read(folder / words[random.integers(len(words))]))
    return _fit_length(parts, seconds)


def _synthetic(seconds: float) -> Samples:
    """Return the spoken parts of the fixtures, each with half a second around it."""
    index = tomllib.loads((FIXTURES / "index.toml").read_text("utf-8"))
    margin = SAMPLE_RATE_HZ // 2
    parts = [
        _read(FIXTURES / each["file"])[
            max(each["said"][0]["first_sample"] - margin, 0) : each["said"][-1]["end_sample"]
            + margin
        ]
        for each in index["recording"]
        if each.get("said") and "khz" not in each["file"]
    ]
    return _fit_length(parts, seconds)


def _read(file: Path) -> Samples:
    samples, rate_hz = soundfile.read(file, dtype="int16", always_2d=True)
    if rate_hz != SAMPLE_RATE_HZ:
        raise Unavailable(f"{file.name} is not sampled at {SAMPLE_RATE_HZ} Hz")
    return np.ascontiguousarray(samples[:, 0])


def _fit_length(parts: list[Samples], seconds: float) -> Samples:
    joined = np.concatenate(parts)
    return np.resize(joined, round(seconds * SAMPLE_RATE_HZ))
