"""flite: the small synthesiser of Carnegie Mellon University, with its built-in voices."""

import re
from typing import Final

from numpy.random import Generator

from listener.audio.pcm import Samples
from listener.errors import Unavailable
from listener.train.voices.program import (
    FILE,
    find_engine,
    parse_version,
    record_engine,
    run_engine,
)

PROGRAM: Final = "flite"
PACKAGES: Final = "flite"

_LIST: Final = re.compile(r"Voices available:(.*)")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
# A clock's few words, and the 8 kHz version of kal16.
_OMITTED: Final = frozenset({"awb_time", "kal"})


class FliteEngine:
    """flite; see `listener.train.voices.engine.VoiceEngine`."""

    name = "flite"
    licence = "BSD-4-Clause"
    resampling = (0.85, 1.2)

    def __init__(self) -> None:
        """Find the program and its voices.

        Raises:
            Unavailable: it is not installed, or has no voice.
        """
        self._program = find_engine(PROGRAM, PACKAGES)
        self.version = parse_version(run_engine((self._program, "--version"), any_status=True))
        self.voices = parse_flite_voices(run_engine((self._program, "-lv")))
        if not self.voices:
            raise Unavailable("flite has no voice of whole sentences", f"apt install {PACKAGES}")

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        stretch, pitch_hz = random.uniform(0.75, 1.4), random.uniform(90.0, 230.0)
        command = (
            *(self._program, "-voice", voice),
            *("--setf", f"duration_stretch={stretch:.3f}"),
            *("--setf", f"int_f0_target_mean={pitch_hz:.1f}"),
            # Not from standard input, whose sentences it would write over each other's file.
            *("-t", text, "-o", FILE),
        )
        return record_engine(command)


def parse_flite_voices(printed: str) -> tuple[str, ...]:
    """Return the voices in flite's list, sorted, without those that speak few words."""
    match = _LIST.search(printed)
    names = match[1].split() if match else []
    return tuple(sorted({name for name in names if _NAME.match(name)} - _OMITTED))
