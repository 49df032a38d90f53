"""Times at which a command's stages begin or end, as the modules ``stamped_...`` write them.

A line is the name of a stage and the time of CLOCK_MONOTONIC, which all processes share.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

START: Final = "start"
"""The recording starts; its samples are due from here on."""
ENDPOINT: Final = "endpoint"
"""The recorder has found the end of a clip, or hear has confirmed a provisional part."""
READY: Final = "ready"
"""Assist has its recogniser and its agent."""
OPENED: Final = "opened"
"""A command copy is open and decoded; recognition begins."""
RECOGNISED: Final = "recognised"
"""Recognition has ended."""
FRAME: Final = "frame"
"""The listen loop begins to process a frame."""
STARTING: Final = "starting"
"""The embedding process is about to be started or asked."""
COMPARED: Final = "compared"
"""The comparison of a clip with the enrolled voices has ended."""

Stamp = Callable[[str], None]


def read_stamps(file: Path) -> list[tuple[str, float]]:
    """Return the stages of a file and their times, in seconds; empty without the file."""
    if not file.exists():
        return []
    lines = file.read_text("ascii").splitlines()
    return [(stage, float(at_s)) for stage, _, at_s in (line.partition(" ") for line in lines)]


def open_stamps(file: str) -> Stamp:
    """Return a function that appends a stage and the time; call it before a sandbox begins."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def stamp(stage: str) -> None:
        os.write(descriptor, f"{stage} {time.monotonic()!r}\n".encode())

    return stamp


def substitute(module: ModuleType, name: str, value: object) -> None:
    """Replace what a module uses under a name, until the process ends.

    ``unittest.mock`` does the same, and would add megabytes to the memory that is measured.

    Raises:
        AttributeError: the module uses nothing of this name, so nothing would be measured.
    """
    getattr(module, name)
    setattr(module, name, value)
