"""Report of devices over their limits: a file that the archive writes and doctor reads."""

from pathlib import Path
from typing import Final

import msgspec

from listener.storage.atomic import read_plain_file, write_atomic

OVER_LIMIT: Final = "limits.json"
"""Name of the file, in the archive's folder."""
KEPT_S: Final = 86_400
"""Time for which a device is reported."""
_LONGEST_BYTES: Final = 1 << 20


class DeviceOverLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A device over its limits."""

    device: str
    last_s: int
    """Time of its last report, seconds since 1970."""


def record_over_limit(path: Path, device: str, now_s: int) -> None:
    """Add a device to the report, and remove those that are in it for a day.

    Args:
        path: the file.
        device: name of the device.
        now_s: seconds since 1970.

    Raises:
        Unavailable: it cannot be written.
    """
    others = [each for each in read_over_limit(path, now_s) if each.device != device]
    reported = [*others, DeviceOverLimit(device=device, last_s=now_s)]
    write_atomic(path, msgspec.json.encode(reported))


def read_over_limit(path: Path, now_s: int) -> list[DeviceOverLimit]:
    """Return the devices that were over their limits in the last day.

    Args:
        path: the file; none are returned if it is missing or damaged.
        now_s: seconds since 1970.
    """
    try:
        data = read_plain_file(path, _LONGEST_BYTES)
        reported = msgspec.json.decode(data, type=list[DeviceOverLimit])
    except (OSError, ValueError, RecursionError):
        return []
    return [each for each in reported if abs(now_s - each.last_s) < KEPT_S]
