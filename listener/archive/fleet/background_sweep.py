"""Expiry and repair in a thread of their own: intake goes on while millions of rows are compared.

Each process begins a sweep when its clock says so; the database lets one run at a time.
"""

import logging
import threading
from collections.abc import Callable

from listener.archive.archive_clock import ArchiveClock
from listener.archive.fleet.fleet_store import FleetStore
from listener.envelope.format import Envelope
from listener.errors import Unavailable
from listener.quantities import quantity

_log = logging.getLogger(__name__)


class BackgroundSweep:
    """Periodic expiry and repair; see ``service.Sweep``. For one thread, beside its own.

    A clip expires when both the accepted time of this process and the clock of the database server
    say so.

    Args:
        store: the clips.
        verify: verifies a stored envelope; raises ``BadEnvelope``.
        clock: this process's clock.
    """

    def __init__(
        self, store: FleetStore, verify: Callable[[bytes], Envelope], clock: ArchiveClock
    ) -> None:
        self._store = store
        self._verify = verify
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._erased = 0

    def run_if_due(self) -> int:
        """Begin a sweep if one is due; return the clips erased since the last call.

        Raises:
            Unavailable: the database cannot be used.
        """
        self._clock.update()
        with self._lock:
            erased, self._erased = self._erased, 0
        is_running = self._thread is not None and self._thread.is_alive()
        if not is_running and self._clock.is_sweep_due():
            self._clock.begin_sweep()
            self._thread = threading.Thread(target=self._sweep, name="sweep", daemon=True)
            self._thread.start()
        return erased

    def join(self, longest_s: float) -> None:
        """Wait for a running sweep, but not longer than this."""
        if self._thread is not None:
            self._thread.join(longest_s)

    def _sweep(self) -> None:
        try:
            if created := self._store.repair(self._verify):
                _log.warning("restored the rows of %s", quantity(created, "clip"))
            now_s = int(min(self._clock.accepted_s(), self._store.database_time_s()))
            erased = self._store.expire(now_s)
        except Unavailable as error:
            _log.warning("repair and retention: %s", error)
            return
        with self._lock:
            self._erased += erased
