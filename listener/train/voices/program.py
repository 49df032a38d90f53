"""Programs that speak: search, execution, and the sound that they write."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable
from listener.storage.recordings import read_recording

TIMEOUT_S: Final = 120.0
"""Seconds after which a program is ended."""
FILE: Final = "{file}"
"""Stands for the path of the sound file in a command and its input."""
LONGEST_S: Final = 60
"""Longest sound that is read, in seconds."""

_VERSION: Final = re.compile(r"\b\d+(?:\.\d+)+(?:-\w+)?", re.ASCII)


def find_engine(program: str, packages: str) -> str:
    """Return the path of a program.

    Args:
        program: its name.
        packages: Debian packages that contain it and its voices.

    Raises:
        Unavailable: it is not installed.
    """
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"{program} is not installed", f"apt install {packages}")
    return path


def run_engine(command: Sequence[str], text: str = "", *, any_status: bool = False) -> str:
    """Run a program with a text on its standard input; return what it prints.

    Args:
        command: the program and its arguments.
        text: its standard input.
        any_status: accept any exit status; flite has 1 after it printed its version.

    Raises:
        Unavailable: it cannot be run, or fails; the message quotes its last line.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603 - a list without a shell; the program was found by find_engine
            command, input=text.encode(), capture_output=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{name} gave no result in {TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise Unavailable(f"cannot run {name}: {error.strerror}") from error
    if done.returncode and not any_status:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise Unavailable(f"{name} failed: {lines[-1][:200]}")
    return done.stdout.decode(errors="replace")


def record_engine(command: Sequence[str], text: str = "") -> Samples:
    """Run a program that writes a sound file; return the sound.

    Args:
        command: the program and its arguments; ``{file}`` stands for the file's path.
        text: standard input; ``{file}`` stands for the file's path there, too.

    Returns:
        int16 at 16 kHz, shape (n,); n is 0 if the program wrote no samples.

    Raises:
        Unavailable: the program fails, or its file is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="earmark-voice-") as folder:
        file = Path(folder) / "spoken.wav"
        place = str(file)
        run_engine([part.replace(FILE, place) for part in command], text.replace(FILE, place))
        if not file.is_file() or file.stat().st_size == 0:
            return np.zeros(0, np.int16)
        return read_recording(file, LONGEST_S * SAMPLE_RATE_HZ)


def parse_version(printed: str) -> str:
    """Return the first version in what a program prints, or ``unknown``."""
    match = _VERSION.search(printed)
    return match[0] if match else "unknown"
