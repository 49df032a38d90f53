"""Speech synthesis with espeak-ng, a Debian package; deterministic for a phrase and a voice."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.storage.recordings import read_recording

PROGRAM: Final = "espeak-ng"
LEAD_S: Final = 1.5
"""Seconds of silence before a phrase: the first frames after a start have no score."""
TAIL_S: Final = 1.0
"""Seconds of silence after a phrase."""
PEAK: Final = 0.4
"""Peak amplitude as a part of full scale, about that of a voice at one or two metres."""

_TIMEOUT_S: Final = 20.0
_LONGEST_S: Final = 60.0
_VOICE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+-]{0,39})(?::([0-9]{2,3})(?::([0-9]{1,2}))?)?\Z")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of espeak-ng with its speed and pitch."""

    name: str
    """Name and variant in espeak-ng: ``en-us+f2``."""
    speed: int = 150
    """Words per minute."""
    pitch: int = 50
    """Pitch, 0 to 99, on espeak-ng's scale."""

    def __str__(self) -> str:
        return f"{self.name}:{self.speed}:{self.pitch}"


VOICES: Final = (
    Voice("en-us+f2"),
    Voice("en-us+m3", 160, 45),
    Voice("en-gb-x-rp+f4", 150, 55),
    Voice("en-gb+m1", 140, 35),
    Voice("en+f3", 175, 60),
    Voice("en-gb-scotland+m7", 155, 50),
)
"""The default voices: female and male, four accents, several speeds."""


def parse_voice(text: str) -> Voice | None:
    """Parse ``NAME[:SPEED[:PITCH]]``; return None for anything else."""
    match = _VOICE.match(text)
    if match is None:
        return None
    return Voice(match[1], int(match[2] or 150), int(match[3] or 50))


def find_program() -> str:
    """Return the path of espeak-ng.

    Raises:
        Unavailable: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unavailable(
            "espeak-ng is not installed, so phrases cannot be synthesised",
            "apt install espeak-ng, or rank by distance alone: --silent",
        )
    return program


def speak(program: str, phrase: str, voice: Voice) -> Samples:
    """Speak a phrase, with silence around it.

    Args:
        program: path of espeak-ng.
        phrase: the text.
        voice: the voice, speed and pitch.

    Returns:
        int16 at 16 kHz, shape (n,), with its peak at ``PEAK``; only silence if espeak-ng gave none.

    Raises:
        Unavailable: espeak-ng failed; the message quotes its last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spoken.wav"
        command = [
            *(program, "-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch)),
            *("-w", str(file), "--stdin"),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - found by find_program; the phrase goes to standard input
                command,
                input=phrase.encode(),
                capture_output=True,
                check=False,
                timeout=_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"cannot run espeak-ng: {error}") from error
        if done.returncode or not file.is_file():
            lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise Unavailable(
                f"espeak-ng failed with the voice {voice.name}: {lines[-1]}",
                "list the voices: espeak-ng --voices",
            )
        spoken = read_recording(file, round(_LONGEST_S * SAMPLE_RATE_HZ))
    loudest = int(np.abs(spoken.astype(np.int32)).max(initial=0))
    if loudest:
        level = spoken.astype(np.float64) * (PEAK * 32767 / loudest)
        spoken = np.rint(level).astype(np.int16)
    lead, tail = (np.zeros(round(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, TAIL_S))
    return np.concatenate([lead, spoken, tail])
