"""Sentences for an enrolment, spoken by the voices of flite."""

import shutil
import subprocess
from pathlib import Path

from listener.cli.owner_enrol import PROMPTS

NO_FLITE = "flite is not installed: make debian"


def speak_sentences(folder: Path, voice: str, count: int = 6) -> list[str]:
    """Write one WAV file for each of the first sentences; return their names."""
    assert shutil.which("flite"), NO_FLITE
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, text in enumerate(PROMPTS[:count]):
        path = folder / f"{voice}-{number}.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        paths.append(str(path))
    return paths
