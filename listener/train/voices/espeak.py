"""espeak-ng: formant synthesis, many accents and voice variants; also the transcription to IPA."""

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

PROGRAM: Final = "espeak-ng"
PACKAGES: Final = "espeak-ng"
ENGLISH: Final = "en"

_IDENTIFIER: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}\Z")
_VARIANTS_FOLDER: Final = "!v/"
# Whispers, robots, echoes and tests, which are not voices of a household.
_OMITTED: Final = re.compile(
    r"whisper|croak|robo|robot|announcer|demonic|ricishay|anxious|fast|kaukovalta", re.IGNORECASE
)
# Not those of mbrola, a program of its own, whose voices are not free to use.
_ACCENT_FILE: Final = "gmw/"
_FILE_COLUMN: Final = 4


class EspeakEngine:
    """espeak-ng; see `listener.train.voices.engine.VoiceEngine`."""

    name = "espeak-ng"
    licence = "GPL-3.0-or-later"
    resampling = (0.9, 1.1)

    def __init__(self) -> None:
        """Find the program and its voices.

        Raises:
            Unavailable: it is not installed, or has no English voice.
        """
        self._program = find_engine(PROGRAM, PACKAGES)
        self.version = parse_version(run_engine((self._program, "--version")))
        accents = parse_voices(run_engine((self._program, f"--voices={ENGLISH}")))
        variants = parse_variants(run_engine((self._program, "--voices=variant")))
        self.voices = tuple(f"{accent}+{variant}" for accent in accents for variant in variants)
        if not self.voices:
            raise Unavailable("espeak-ng has no English voice", f"apt install {PACKAGES}")

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        speed, pitch = random.integers(110, 211), random.integers(20, 81)
        command = (self._program, "-v", voice, "-s", str(speed), "-p", str(pitch))
        return record_engine((*command, "-w", FILE, "--stdin"), text)

    def transcribe(self, text: str, accent: str = "en-us") -> str:
        """Return the pronunciation of a text in IPA, words separated by spaces.

        Args:
            text: English words.
            accent: ``en-us`` or ``en-gb``.

        Raises:
            Unavailable: espeak-ng failed.
        """
        printed = run_engine((self._program, "-q", "--ipa", "-v", accent, "--stdin"), text)
        return " ".join(printed.split())


def parse_voices(printed: str) -> tuple[str, ...]:
    """Return the accents of English in espeak-ng's table of voices, in its order, each once."""
    rows = (line.split() for line in printed.splitlines()[1:])
    return tuple(
        dict.fromkeys(
            row[1]
            for row in rows
            if len(row) > _FILE_COLUMN
            and row[_FILE_COLUMN].startswith(_ACCENT_FILE)
            and _IDENTIFIER.match(row[1])
        )
    )


def parse_variants(printed: str) -> tuple[str, ...]:
    """Return the names of the variants in espeak-ng's table, sorted."""
    files = (
        field.removeprefix(_VARIANTS_FOLDER)
        for line in printed.splitlines()[1:]
        for field in line.split()
        if field.startswith(_VARIANTS_FOLDER)
    )
    return tuple(
        sorted({file for file in files if _IDENTIFIER.match(file) and not _OMITTED.search(file)})
    )
