"""Clips of synthetic voices, kept in a folder."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from benchmarks.processes import finished
from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable

_PEAK = 12_000


def speak(engine: str, voice: str, text: str, folder: Path) -> Samples:
    """Return a sentence as int16, mono, 16 kHz; made once.

    Args:
        engine: ``espeak-ng``, ``flite`` or ``festival``.
        voice: name of the engine's voice.
        text: what is said.
        folder: keeps the clips.
    """
    name = hashlib.sha256(f"{engine}\n{voice}\n{text}".encode()).hexdigest()[:24]
    path = folder / f"{name}.wav"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sound, rate = _synthesise(engine, voice, text)
        if rate != SAMPLE_RATE_HZ:
            sound = soxr.resample(sound, rate, SAMPLE_RATE_HZ)
        level = _PEAK / 32_768 / max(1e-6, float(np.abs(sound).max()))
        soundfile.write(path, sound * level, SAMPLE_RATE_HZ, subtype="PCM_16")
    samples: Samples = soundfile.read(path, dtype="int16")[0]
    return samples


def _synthesise(engine: str, voice: str, text: str) -> tuple[npt.NDArray[np.float32], int]:
    with tempfile.TemporaryDirectory() as folder:
        out, written = f"{folder}/out.wav", Path(folder) / "text"
        written.write_text(text, "utf-8")
        command = {
            "espeak-ng": ["espeak-ng", "-v", voice, "-w", out, text],
            "flite": ["flite", "-voice", voice, "-t", text, "-o", out],
            "festival": ["text2wave", "-eval", f"(voice_{voice})", "-o", out, str(written)],
        }[engine]
        done = finished(command, os.environ)
        if done.returncode:
            raise Unavailable(f"{command[0]} failed with {done.returncode}")
        sound, rate_hz = soundfile.read(out, dtype="float32")
    return sound, rate_hz
