"""Check of the loudspeaker, its stop button, and the service that plays replies and sounds.

The loudspeaker is looked up and not opened: the player may be using it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from listener.config import PlayerSettings
from listener.doctor.systemd import PLAY, is_loaded, is_running, show_unit
from listener.system.findings import Check, Finding

LINK: Final = Path("dev/snd/earmark-playback")
"""Node that the unit may open; a link of the udev rules."""
CONTROL_LINK: Final = Path("dev/snd/earmark-playback-control")


def check_loudspeaker(
    root: Path,
    settings: PlayerSettings,
    ask: Callable[[str], Mapping[str, str]] = show_unit,
) -> Finding | None:
    """Check the loudspeaker and its service; None where the service is not installed.

    Args:
        root: root of the file system.
        settings: of the player.
        ask: returns the properties of a unit.
    """
    actual = ask(PLAY)
    if not is_loaded(actual):
        return None
    check = Check("loudspeaker")
    if not all((root / link).exists() for link in (LINK, CONTROL_LINK)):
        return check.not_here("none was found, so replies and sounds are not played")
    if settings.button is not None and not (root / settings.button.lstrip("/")).exists():
        return check.warn(
            f"the stop button {settings.button} does not exist, so the player does not start",
            "check player.button, and the name of the input device: ls -l /dev/input",
        )
    if not is_running(actual):
        return check.warn(
            "there is one, and the player does not run",
            f"find the cause: journalctl -u {PLAY}; then run systemctl start {PLAY}",
        )
    return check.ok("there is one, and the player runs")
