"""Bound on the number of log lines an hour, so that no peer can fill a disk with them."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from listener.quantities import quantity

HOUR_S: Final = 3600.0
MOST_PER_KIND: Final = 30
"""Lines an hour with the same text before its arguments are filled in."""
MOST_IN_ALL: Final = 600
"""Lines an hour in all: libraries may put what a peer sent into the text."""
_MOST_KINDS: Final = 256


class LogLimit(logging.Filter):
    """Filter of a log handler: passes a bounded number of records an hour and counts the others.

    The first record that passes after an hour with omitted ones says how many there were.

    Args:
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic_s = monotonic_s
        self._hours: OrderedDict[tuple[str, str], _Hour] = OrderedDict()
        self._total = _Hour(monotonic_s())

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written; may add the number of omitted ones to its text."""
        now_s = self._monotonic_s()
        key = (record.name, str(record.msg))
        hour = self._hours.get(key)
        if hour is None:
            hour = self._hours[key] = _Hour(now_s)
            if len(self._hours) > _MOST_KINDS:
                self._hours.popitem(last=False)
        omitted = hour.renew(now_s) + self._total.renew(now_s)
        if hour.passed >= MOST_PER_KIND:
            hour.omitted += 1
            return False
        if self._total.passed >= MOST_IN_ALL:
            self._total.omitted += 1
            return False
        hour.passed += 1
        self._total.passed += 1
        if omitted:
            lines = quantity(omitted, "line like this was", "lines like this were")
            _append(record, f"({lines} omitted in the last hour)")
        elif hour.passed == MOST_PER_KIND:
            _append(record, "(more lines like this are counted and omitted for an hour)")
        return True


class _Hour:
    """Records of one kind in the current hour."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self.passed = 0
        self.omitted = 0

    def renew(self, now_s: float) -> int:
        """Start a new hour if this one is over; return the omitted records of the old one."""
        if now_s - self._began_s < HOUR_S:
            return 0
        omitted, self._began_s, self.passed, self.omitted = self.omitted, now_s, 0, 0
        return omitted


def _append(record: logging.LogRecord, text: str) -> None:
    record.msg = f"{record.getMessage()} {text}"
    record.args = None
