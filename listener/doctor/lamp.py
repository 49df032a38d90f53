"""Whether the lamp's device is there for who runs this. It is not lit: hear may have it."""

import os
from pathlib import Path

from listener.config import LampSettings
from listener.system.findings import Check, Finding


def check_lamp(root: Path, settings: LampSettings) -> Finding:
    """Look at the device.

    Args:
        root: of the machine's files.
        settings: which lamp.
    """
    if settings.kind == "none":
        return Check("lamp").ok("none; the one in the switch's circuit needs no program")
    named = settings.chip if settings.kind == "gpio" else settings.device
    path = root / named.lstrip("/")
    if not path.exists():
        return Check("lamp").fail(
            f"{settings.kind}: there is no {named}",
            "lamp.chip" if settings.kind == "gpio" else "dtparam=spi=on in config.txt",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        return Check("lamp").warn(
            f"{settings.kind}: this user may not use {named}",
            "run doctor as the user that runs hear; its service needs a DeviceAllow= for it",
        )
    return Check("lamp").ok(
        f"{settings.kind}, on {named}; it flashes shortly, every 3 s, while muted"
    )
