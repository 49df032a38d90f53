"""Budget of the access log: how many rows of one kind an owner's requests write in an hour. Pure.

Every export contains the chain of all owners, so that no owner may lengthen it without a limit.
The first ``MOST_SINGLE_ROWS`` events of a kind in an hour have a row each. The later ones are
counted, and written as one row for each ``EVENTS_A_ROW`` of them, then as one row at the end of the
hour. Each owner has a budget for each operation, so that a flood of one hides no other.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from listener.storage.access_log import LogEntry

MOST_SINGLE_ROWS: Final = 20
EVENTS_A_ROW: Final = 100
MOST_SUMMARIES: Final = 5
"""Rows of ``EVENTS_A_ROW`` events in an hour; the other events are in the last row."""
WINDOW_S: Final = 3600.0
SUMMARY: Final = "more-"
"""Prefix of ``op`` in a row that counts requests."""

_Key = tuple[str, str, str, str, bool]


@dataclass(slots=True)
class _Window:
    """Events of one kind within the current hour."""

    since_s: float
    last: LogEntry
    rows: int = 0
    summaries: int = 0
    unwritten: int = 0


class LogBudget:
    """The rows of the current hour by owner and kind. Safe for several threads.

    Args:
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._windows: dict[_Key, _Window] = {}
        self._deferred: dict[_Key, _Window] = {}
        self._lock = threading.Lock()

    def count(self, entry: LogEntry) -> list[LogEntry]:
        """Count an event; return its row while the budget lasts, or a row for many, or none."""
        with self._lock:
            return self._spend(entry)

    def defer(self, entry: LogEntry) -> None:
        """Count an event, or a row that could not be written, for the owner's next row.

        It is written after an hour at the latest.

        A row at once would show the peer that caused it that there was something to report.
        """
        with self._lock:
            window = self._deferred.setdefault(_key(entry), _Window(self._monotonic_s(), entry))
            window.unwritten += entry.count

    def rows_due(self, owner: str | None = None, *, at_end: bool = False) -> list[LogEntry]:
        """Return the rows that are due: those of ended hours, and an owner's deferred rows.

        A row that cannot be written is given back by ``defer``.

        Args:
            owner: the owner who gets a row now, if any.
            at_end: True to return all rows, because the process ends.
        """
        with self._lock:
            rows = self._rows_of_ended_windows(at_end=at_end)
            return rows if owner is None else rows + self._release(owner)

    def _spend(self, entry: LogEntry) -> list[LogEntry]:
        window = self._windows.setdefault(_key(entry), _Window(self._monotonic_s(), entry))
        window.last = entry
        if window.rows < MOST_SINGLE_ROWS:
            window.rows += 1
            return [entry]
        window.unwritten += entry.count if _counts_events(entry) else 1
        if window.unwritten < EVENTS_A_ROW or window.summaries >= MOST_SUMMARIES:
            return []
        window.summaries += 1
        return _summary(window)

    def _rows_of_ended_windows(self, *, at_end: bool = False) -> list[LogEntry]:
        now_s = self._monotonic_s()
        rows: list[LogEntry] = []
        for windows in (self._windows, self._deferred):
            for key, window in list(windows.items()):
                if at_end or now_s - window.since_s >= WINDOW_S:
                    del windows[key]
                    rows += _summary(window)
        return rows

    def _release(self, owner: str) -> list[LogEntry]:
        rows: list[LogEntry] = []
        for key in [key for key in self._deferred if key[0] == owner]:
            window = self._deferred.pop(key)
            rows += self._spend(replace(window.last, count=window.unwritten))
        return rows


def _key(entry: LogEntry) -> _Key:
    if entry.outcome in {"done", "failed"}:
        return entry.owner, "", entry.op, "", False
    # Rows that the other owner may read are never summed with rows that they may not.
    return entry.owner, entry.other or "", "", entry.outcome, entry.is_hidden_from_other


def _counts_events(entry: LogEntry) -> bool:
    """Return True if ``count`` is the number of events, not that of the clips of one request."""
    return entry.outcome not in {"done", "failed"} or entry.op.startswith(SUMMARY)


def _summary(window: _Window) -> list[LogEntry]:
    """Return one row for the unwritten events, if there are any."""
    number, window.unwritten = window.unwritten, 0
    if number == 0:
        return []
    entry = window.last
    if not _counts_events(entry):
        entry = replace(entry, op=f"{SUMMARY}{entry.op}", okey=None)
    return [replace(entry, count=number, request_sha256=None)]
