"""RHVoice: statistical parametric voices; packaged for Debian."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
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

PROGRAM: Final = "RHVoice-test"
PACKAGES: Final = "rhvoice rhvoice-english"
DATA_FOLDER: Final = "/usr/share/RHVoice"
DATA_VARIABLE: Final = "RHVOICE_DATA_PATH"
"""Environment variable by which RHVoice finds its voices elsewhere."""
LONGEST_INFO_CHARACTERS: Final = 10_000

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}\Z")
_LANGUAGE: Final = re.compile(r"^\s*language\s*=\s*(\S+)\s*$", re.MULTILINE | re.IGNORECASE)


class RhvoiceEngine:
    """RHVoice; see `listener.train.voices.engine.VoiceEngine`."""

    name = "rhvoice"
    licence = "LGPL-2.1-or-later and those of its voices"
    resampling = (0.88, 1.15)

    def __init__(self) -> None:
        """Find the program and its voices.

        Raises:
            Unavailable: it is not installed, or has no English voice.
        """
        self._program = find_engine(PROGRAM, PACKAGES)
        self.version = _find_version()
        folder = Path(os.environ.get(DATA_VARIABLE, DATA_FOLDER)) / "voices"
        self.voices = tuple(sorted(_list_voices(folder)))
        if not self.voices:
            raise Unavailable(
                f"RHVoice has no English voice in {folder}", f"apt install {PACKAGES}"
            )

    def speak(self, text: str, voice: str, random: Generator) -> Samples:
        """See `VoiceEngine.speak`."""
        rate, pitch = random.integers(75, 131), random.integers(75, 131)
        command = (self._program, "-p", voice, "-r", str(rate), "-t", str(pitch), "-o", FILE)
        return record_engine(command, text)


def parse_voice_language(text: str) -> str:
    """Return the language in a voice's ``voice.info``, in lower case; empty without one."""
    match = _LANGUAGE.search(text[:LONGEST_INFO_CHARACTERS])
    return match[1].lower() if match else ""


def _list_voices(folder: Path) -> Iterable[str]:
    for file in folder.glob("*/voice.info"):
        if not _NAME.match(file.parent.name):
            continue
        try:
            language = parse_voice_language(file.read_text(errors="replace"))
        except OSError:
            continue
        if language == "english":
            yield file.parent.name


def _find_version() -> str:
    """Return the version of the Debian package; the program itself does not know its own."""
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return "unknown"
    return parse_version(run_engine((dpkg, "-W", "-f", "${Version}", "rhvoice"), any_status=True))
