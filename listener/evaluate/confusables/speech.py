"""Phrases spoken by espeak-ng, which Debian ships: the same phrase and voice, the same sound."""

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
from listener.storage.recordings import open_recording

PROGRAM: Final = "espeak-ng"
LEAD_S: Final = 1.5
"""Silence before a phrase: the first frames after a start have no score."""
TAIL_S: Final = 1.0
PEAK: Final = 0.4
"""Of full scale: a voice a metre or two away."""

_PATIENCE_S: Final = 20.0
_VOICE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+-]{0,39})(?::([0-9]{2,3})(?::([0-9]{1,2}))?)?\Z")


@dataclass(frozen=True, slots=True)
class Voice:
    """One way to speak."""

    name: str
    """As espeak-ng calls it: ``en-us+f2``."""
    speed: int = 150
    """Words a minute."""
    pitch: int = 50
    """0 to 99, espeak's scale."""

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
"""What is tried by default: women and men, four accents, quick and slow."""


def parse_voice(text: str) -> Voice | None:
    """Read ``NAME[:SPEED[:PITCH]]``; None if it is not that."""
    found = _VOICE.match(text)
    if found is None:
        return None
    return Voice(found[1], int(found[2] or 150), int(found[3] or 50))


def find_program() -> str:
    """Return where espeak-ng is.

    Raises:
        Unavailable: it is not installed.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise Unavailable(
            "the phrases cannot be spoken: espeak-ng is not installed",
            "apt install espeak-ng; --silent ranks them by their distance alone",
        )
    return program


def speak(program: str, phrase: str, voice: Voice) -> Samples:
    """Speak a phrase, with silence around it.

    Args:
        program: espeak-ng.
        phrase: words.
        voice: who speaks.

    Returns:
        int16 at 16 kHz, its peak at ``PEAK``; silence alone if nothing was spoken.

    Raises:
        Unavailable: espeak-ng fails; the message has its own words.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spoken.wav"
        command = [
            *(program, "-v", voice.name, "-s", str(voice.speed), "-p", str(voice.pitch)),
            *("-w", str(file), "--stdin"),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - found above, and the phrase is no argument
                command,
                input=phrase.encode(),
                capture_output=True,
                check=False,
                timeout=_PATIENCE_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"espeak-ng does not speak: {error}") from error
        if done.returncode or not file.is_file():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise Unavailable(
                f"espeak-ng cannot speak as {voice.name}: {said[-1]}",
                "espeak-ng --voices lists its voices",
            )
        with open_recording(file) as recording:
            sound = recording.read(max(1, recording.length_samples))
    spoken = np.zeros(0, np.int16) if sound is None else sound
    loudest = int(np.abs(spoken.astype(np.int32)).max(initial=0))
    if loudest:
        level = spoken.astype(np.float64) * (PEAK * 32767 / loudest)
        spoken = np.rint(level).astype(np.int16)
    lead, tail = (np.zeros(round(s * SAMPLE_RATE_HZ), np.int16) for s in (LEAD_S, TAIL_S))
    return np.concatenate([lead, spoken, tail])
