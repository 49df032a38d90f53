"""Roles of this computer in a household: speaker, hub, assist."""

from pathlib import Path
from typing import Final, Literal

from listener.config import Config
from listener.doctor import systemd
from listener.storage.home import ASSIST_KEY

Role = Literal["speaker", "hub", "assist"]

_WANTS: Final = Path("etc/systemd/system/multi-user.target.wants")
_UNITS: Final[tuple[tuple[Role, str], ...]] = (
    ("speaker", systemd.HEAR),
    ("hub", systemd.ARCHIVE),
    ("assist", systemd.ASSIST),
)


def find_installed_roles(root: Path) -> tuple[Role, ...]:
    """Return the roles whose services are enabled; empty without any.

    ``/usr/lib/earmark/set-role`` and ``systemctl enable`` make the links that are read here.

    Args:
        root: root of the file system.
    """
    return tuple(role for role, unit in _UNITS if (root / _WANTS / unit).is_symlink())


def find_configured_roles(config: Config) -> tuple[Role, ...]:
    """Return the roles for which a data directory and its configuration are used; at least one.

    A new data directory is a speaker's.

    Args:
        config: names the data directory.
    """
    home, assist = Path(config.home), config.assist
    has_hub = (home / "archive").is_dir() or (home / "household").is_dir()
    has_assist = (
        (home / ASSIST_KEY).exists()
        or assist.token_file is not None
        or "built-in" in {assist.recogniser, assist.agent}
    )
    has_speaker = (
        not (has_hub or has_assist)
        or config.attribution.keeper is not None
        or (home / "device.key").exists()
        or (home / "spool").exists()
    )
    found: tuple[tuple[Role, bool], ...] = (
        ("speaker", has_speaker),
        ("hub", has_hub),
        ("assist", has_assist),
    )
    return tuple(role for role, is_used in found if is_used)
