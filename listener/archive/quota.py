"""Limits of one device: clips an hour and bytes a day. Beyond them its clips are deferred.

A device that was taken over, or an owner's flood of clips, must not fill the disk for everybody.
Each device has a token bucket for clips and one for bytes (as in RFC 2697), which a clip that is
stored reduces; so one device takes nothing from another. A deferred clip stays in its device's
spool, and is stored later.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.archive.storage_interfaces import LogChain
from listener.envelope.format import PublicHeader
from listener.errors import EarmarkError, Unavailable
from listener.quantities import quantity
from listener.storage.access_log import LogEntry
from listener.storage.over_limit import OVER_LIMIT, record_over_limit

REPORT_PAUSE_S: Final = 3600.0
DEFERRED: Final = "deferred"
"""Word in the access log."""
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400

_log = logging.getLogger(__name__)


class OverLimit(EarmarkError):
    """The device has reached its limits: the clip is stored later."""


@dataclass(slots=True)
class _Bucket:
    """Token bucket: a capacity, refilled at a constant rate."""

    capacity: float
    refill_s: float
    """Time in which it is filled from empty, in seconds."""
    tokens: float
    at_s: float

    def refill(self, now_s: float) -> None:
        grown = (now_s - self.at_s) * self.capacity / self.refill_s
        self.tokens = min(self.capacity, self.tokens + max(0.0, grown))
        self.at_s = now_s

    def has(self, amount: float) -> bool:
        """Return whether there is enough; a full bucket is enough for anything."""
        return self.tokens >= min(amount, self.capacity)


class DeviceQuota:
    """Limits of each device. For one thread.

    The buckets are in memory: a restart fills them.

    Args:
        clips_per_hour: clips of one device in an hour; 0: no limit.
        bytes_per_day: bytes of one device in a day; 0: no limit.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self, clips_per_hour: int, bytes_per_day: int, monotonic_s: Callable[[], float]
    ) -> None:
        self._limits = ((clips_per_hour, _HOUR_S), (bytes_per_day, _DAY_S))
        self._monotonic_s = monotonic_s
        self._buckets: dict[str, list[_Bucket]] = {}

    def check(self, device: str, size_bytes: int) -> None:
        """Check that a clip of this size may be stored now.

        Raises:
            OverLimit: it may not.
        """
        for bucket, amount in zip(self._refill(device), (1, size_bytes), strict=True):
            if bucket.capacity and not bucket.has(amount):
                raise OverLimit("the device is over its limits")

    def charge(self, device: str, size_bytes: int) -> None:
        """Count a clip that was stored."""
        for bucket, amount in zip(self._refill(device), (1, size_bytes), strict=True):
            bucket.tokens = max(0.0, bucket.tokens - amount)

    def _refill(self, device: str) -> list[_Bucket]:
        now_s = self._monotonic_s()
        buckets = self._buckets.get(device)
        if buckets is None:
            buckets = self._buckets[device] = [
                _Bucket(capacity, refill_s, capacity, now_s) for capacity, refill_s in self._limits
            ]
        for bucket in buckets:
            bucket.refill(now_s)
        return buckets


class DeferralReport:
    """Report of deferred clips: a row in the owner's log, and a file for doctor.

    At most one row an hour for each owner and device, so that a flood does not grow the log.

    Args:
        log: the access log.
        folder: the archive's folder.
        wall_s: seconds since 1970.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        log: LogChain,
        folder: Path,
        wall_s: Callable[[], float],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._log = log
        self._path = folder / OVER_LIMIT
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._reported_s: dict[tuple[str, str], float] = {}
        self._unreported: dict[tuple[str, str], int] = {}

    def add(self, header: PublicHeader) -> None:
        """Count a deferred clip, and report it if a report is due."""
        key = (header.owner, header.device)
        self._unreported[key] = self._unreported.get(key, 0) + 1
        now_s = self._monotonic_s()
        if now_s - self._reported_s.get(key, float("-inf")) < REPORT_PAUSE_S:
            return
        self._reported_s[key] = now_s
        number = self._unreported[key]
        _log.warning(
            "the device %s is over its limits: deferred %s", header.device, quantity(number, "clip")
        )
        try:
            self._log.append(
                LogEntry(owner=header.owner, op=DEFERRED, outcome="refused", count=number)
            )
            del self._unreported[key]
            record_over_limit(self._path, header.device, int(self._wall_s()))
        except Unavailable as error:
            _log.warning("cannot report deferred clips: %s", error)
