"""Hourly report of what peers did in excess: one log line, instead of one for each event."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from listener.system.systemd import Notifier

HOUR_S: Final = 3600.0
FIRST_S: Final = 60.0
"""After the first event the report comes early, so that the log shows an attack while it lasts."""

_log = logging.getLogger(__name__)


class HourlyReport:
    """Reporter of counts that grow. For one thread.

    Args:
        counts: returns the counts since the start, by what they count, as words for the log.
        monotonic_s: monotonic clock, in seconds.
        service: shows the latest report as the service's status.
    """

    def __init__(
        self,
        counts: Callable[[], Mapping[str, int]],
        monotonic_s: Callable[[], float],
        service: Notifier | None = None,
    ) -> None:
        self._counts = counts
        self._monotonic_s = monotonic_s
        self._service = service
        self._reported: Counter[str] = Counter()
        self._due_s = monotonic_s() + FIRST_S

    def run_if_due(self) -> None:
        """Log what was counted since the last report; nothing if that is nothing."""
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return
        current = Counter(dict(self._counts()))
        new = current - self._reported
        if not new:
            return
        self._reported = current
        self._due_s = now_s + HOUR_S
        text = ", ".join(f"{number} {what}" for what, number in sorted(new.items()))
        _log.warning("since the last report: %s", text)
        if self._service is not None:
            total = ", ".join(f"{number} {what}" for what, number in sorted(current.items()))
            self._service.status(f"since the start: {total}")
