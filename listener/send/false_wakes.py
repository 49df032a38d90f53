"""Rate of false wakes of this home, from the wakes that its people mark as false.

The rate has an exact interval (Garwood 1936). It counts no wake that is not marked, so it is a
lower bound where people do not mark each of them.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from listener.errors import Unavailable
from listener.ipc.notices import Tally
from listener.storage.atomic import (
    SECRET_MODE,
    make_folders,
    read_plain_file,
    translate_os_errors,
    write_atomic,
)

FILE: Final = "send/false_wakes.json"
WRITE_PAUSE_S: Final = 600.0
"""Time between two writes of the time listened, in seconds. A false wake is written at once."""
MOST_FALSE_WAKES: Final = 100_000
_LONGEST_BYTES: Final = 4 << 10
_SAMPLE_RATE_HZ: Final = 16_000
"""Of the counters; send does not import what handles audio."""
_TAIL: Final = 0.025
_STEPS: Final = 60

_log = logging.getLogger(__name__)


class FalseWakeRate(msgspec.Struct, frozen=True, kw_only=True):
    """Rate of false wakes, for the status."""

    marked: int
    """Wakes that were marked as false."""
    hours: float
    """Hours in which this speaker listened."""
    per_hour: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval of ``per_hour``."""
    high: float | None = None


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    v: Annotated[int, Meta(ge=1, le=1)] = 1
    marked: Annotated[int, Meta(ge=0, le=MOST_FALSE_WAKES)] = 0
    samples: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    boot: str = ""
    heard: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Samples of the start ``boot`` of hear that are in ``samples``."""


def poisson_interval(count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of the mean of a Poisson count (Garwood 1936).

    Args:
        count: number of events, at least 0.
    """
    low = 0.0 if count == 0 else _solve(count - 1, 1 - _TAIL)
    return low, _solve(count, _TAIL)


class FalseWakes:
    """Counter of false wakes and of the time listened, on disk. For one thread.

    Args:
        home: the data directory.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, home: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._path = home / FILE
        self._monotonic_s = monotonic_s
        self._stored = _read(self._path)
        self._written_s = -math.inf
        self._has_wake = False

    def on_wake(self) -> None:
        """Note a wake, which may be marked."""
        self._has_wake = True

    def on_tally(self, tally: Tally) -> None:
        """Add the time that hear listened since the tally before."""
        before = self._stored
        counted = before.heard if tally.boot == before.boot else 0
        added = max(0, tally.heard_samples - counted)
        if added:
            self._stored = msgspec.structs.replace(
                before,
                samples=before.samples + added,
                boot=tally.boot,
                heard=tally.heard_samples,
            )
            if self._monotonic_s() >= self._written_s + WRITE_PAUSE_S:
                self._write()

    def mark_last(self) -> bool:
        """Count the last wake as false; return False if there is none, or it was marked."""
        if not self._has_wake or self._stored.marked >= MOST_FALSE_WAKES:
            return False
        self._has_wake = False
        self._stored = msgspec.structs.replace(self._stored, marked=self._stored.marked + 1)
        self._write()
        return True

    def rate(self) -> FalseWakeRate:
        """Return the rate so far; without a value before the first hour."""
        hours = self._stored.samples / _SAMPLE_RATE_HZ / 3600
        marked = self._stored.marked
        if hours < 1:
            return FalseWakeRate(marked=marked, hours=round(hours, 1))
        low, high = poisson_interval(marked)
        return FalseWakeRate(
            marked=marked,
            hours=round(hours, 1),
            per_hour=_rounded(marked / hours),
            low=_rounded(low / hours),
            high=_rounded(high / hours),
        )

    def _write(self) -> None:
        self._written_s = self._monotonic_s()
        try:
            with translate_os_errors(self._path):
                make_folders(self._path.parent)
                write_atomic(self._path, msgspec.json.encode(self._stored), SECRET_MODE)
        except Unavailable as error:
            _log.warning("cannot store the count of false wakes: %s", error)


def _read(path: Path) -> _Stored:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return msgspec.json.decode(read_plain_file(path, _LONGEST_BYTES), type=_Stored)
    return _Stored()


def _solve(count: int, probability: float) -> float:
    """Return the mean at which at most ``count`` events have a probability, by bisection."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _at_most(count, middle) > probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """Return the probability of at most ``count`` events of a Poisson distribution."""
    if mean <= 0:
        return 1.0
    logarithm = math.log(mean)
    return math.fsum(
        math.exp(number * logarithm - mean - math.lgamma(number + 1)) for number in range(count + 1)
    )


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")
