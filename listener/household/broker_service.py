"""Reload or restart of the system's mosquitto, where it is this household's broker."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from listener.household import broker_config
from listener.system.systemctl import run_systemctl

CONFIGURATIONS: Final = Path("/etc/mosquitto/conf.d")
SYSTEMD: Final = Path("/run/systemd/system")
"""Exists where systemd runs."""

Control = Callable[[str], bool]
"""Runs ``systemctl WORD mosquitto``; returns whether that worked."""


def systemctl(word: str) -> bool:
    """Run ``systemctl WORD mosquitto``; return whether it worked."""
    try:
        run_systemctl(word, "mosquitto", timeout_s=60)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def is_system_broker(folder: Path, configurations: Path = CONFIGURATIONS) -> bool:
    """Return whether the system's mosquitto reads the configuration in a folder.

    Args:
        folder: mosquitto's folder of the household.
        configurations: where the system's mosquitto reads its configuration.
    """
    wanted = (folder / broker_config.CONFIG).resolve()
    try:
        return any(path.resolve() == wanted for path in configurations.glob("*.conf"))
    except OSError:
        return False


def update_broker(
    folder: Path,
    *,
    closes_connections: bool = False,
    control: Control = systemctl,
    configurations: Path = CONFIGURATIONS,
    systemd: Path = SYSTEMD,
) -> bool:
    """Let the system's mosquitto read its files again; return whether it has.

    Args:
        folder: mosquitto's folder of the household.
        closes_connections: restart it, which also ends the connections of revoked members.
        control: runs systemctl.
        configurations: as for `is_system_broker`.
        systemd: exists where systemd runs.
    """
    if os.geteuid() != 0 or not systemd.is_dir() or not is_system_broker(folder, configurations):
        return False
    return control("restart" if closes_connections else "reload")
