"""``earmark`` on a computer that a test plays: the system's paths are below the computer's folder.

Started as ``python -m tests.system.computer WORD ...`` with ``EARMARK_COMPUTER`` naming the folder.
Only the constants that name the system's paths are replaced; every command is the product's.
"""

import functools
import os
import sys
from pathlib import Path

from listener.cli import main

FOLDER = "EARMARK_COMPUTER"
PORTS = "EARMARK_PORTS"
"""Port of the broker, of joining, and of the archive, with spaces between."""


def run() -> int:
    """Run the command and return its exit code."""
    folder = Path(os.environ[FOLDER])
    etc = folder / "etc" / "earmark"
    vars(main).update(SYSTEM_CONFIG=str(etc / "earmark.toml"), HUB_CONFIG=str(etc / "archive.toml"))
    if sys.argv[1] == "household":
        from listener.cli import household  # noqa: PLC0415 - after the paths are replaced

        paths = household.SystemPaths(
            home=folder / "archive",
            broker=folder / "etc" / "mosquitto" / "earmark",
            archive=etc / "archive",
            settings=etc / "archive.toml",
        )
        set_up = functools.partial(household.set_up, system=paths)
        vars(household).update(set_up=set_up, ARCHIVE_PORT=int(os.environ[PORTS].split()[2]))
    if sys.argv[1] == "first-boot":
        sys.argv += ["--boot", str(folder / "boot" / "firmware")]
    return main.main()


if __name__ == "__main__":
    sys.exit(run())
