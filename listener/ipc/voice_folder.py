"""Folder of voice control on this machine: the tmpfs of the services, or one below another home."""

from pathlib import Path
from typing import Final

from listener.ipc.voice_paths import RUNTIME_FOLDER, find_folder

SERVICE_HOME: Final = Path("/var/lib/earmark")
"""Data directory of the services; the tmpfs belongs to it, and not to a selftest beside them."""


def locate_voice_folder(home: Path) -> Path:
    """Return the folder of voice control for a home; it may not exist.

    Args:
        home: data directory.
    """
    is_runtime = home == SERVICE_HOME and Path(RUNTIME_FOLDER).is_dir()
    return find_folder(home, is_runtime=is_runtime)
