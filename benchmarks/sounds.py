"""Audio of the benchmarks: speech, a quiet room, digital silence; the same for each engine."""

import json
import os
import tomllib
from collections.abc import Sequence
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
    """Return ``seconds`` of speech with the wake word every few seconds, and a description."""
    folder = recordings_folder()
    if folder is not None:
        described = f"real recordings, the wake word after each {EXCERPT_S} s of read sentences"
        return _recorded(folder, seconds), described
    return _synthetic(seconds), "a speech synthesiser, from tests/fixtures"


def talk(seconds: float) -> tuple[Samples, str]:
    """Return ``seconds`` of speech without the wake word, and a description of it."""
    folder = recordings_folder()
    if folder is not None:
        return _recorded(folder, seconds, has_word=False), "real recordings, read sentences"
    return _synthetic(seconds, ("talk",)), "a speech synthesiser without wake words"


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


def _recorded(folder: Path, seconds: float, *, has_word: bool = True) -> Samples:
    """Return excerpts of talk, with clips of the word in between or without, with a fixed seed."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    words = [clip["file"] for clip in manifest["clips"] if clip["label"] == "alexa"]
    talk = [each["file"] for each in manifest["streams"] if each["group"].startswith("negative/l")]
    random = np.random.default_rng(SEED)
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE_HZ:
        stream = folder / talk[random.integers(len(talk))]
        # Not the whole file: a minute of excerpts would decode hours.
        first = random.integers(soundfile.info(stream).frames - EXCERPT_S * SAMPLE_RATE_HZ)
        parts.append(_read(stream, int(first), EXCERPT_S * SAMPLE_RATE_HZ))
        word = words[random.integers(len(words))]
        if has_word:
            parts.append(_read(folder / word))
    return _fit_length(parts, seconds)


def _synthetic(seconds: float, stems: Sequence[str] | None = None) -> Samples:
    """Return the spoken parts of the fixtures, each with half a second around it.

    Args:
        seconds: length.
        stems: names of the fixtures; None means all.
    """
    index = tomllib.loads((FIXTURES / "index.toml").read_text("utf-8"))
    margin = SAMPLE_RATE_HZ // 2
    parts = [
        _read(FIXTURES / each["file"])[
            max(each["said"][0]["first_sample"] - margin, 0) : each["said"][-1]["end_sample"]
            + margin
        ]
        for each in index["recording"]
        if each.get("said")
        and "khz" not in each["file"]
        and (stems is None or Path(each["file"]).stem in stems)
    ]
    return _fit_length(parts, seconds)


def _read(file: Path, first: int = 0, frames: int = -1) -> Samples:
    samples, rate_hz = soundfile.read(
        file, frames=frames, start=first, dtype="int16", always_2d=True
    )
    if rate_hz != SAMPLE_RATE_HZ:
        raise Unavailable(f"{file.name} is not sampled at {SAMPLE_RATE_HZ} Hz")
    return np.ascontiguousarray(samples[:, 0])


def _fit_length(parts: list[Samples], seconds: float) -> Samples:
    joined = np.concatenate(parts)
    return np.resize(joined, round(seconds * SAMPLE_RATE_HZ))
