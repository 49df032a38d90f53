"""State of an archive process, for a supervisor or a proxy.

It is served without a proof: it has no names, no numbers of clips and no times.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from listener.archive.schema import HealthAnswer
from listener.errors import Unavailable

LOOP_S: Final = 30.0
"""Time without a turn of the receive loop after which it counts as stopped."""
PROBE_S: Final = 2.0
"""Time for which the result of a probe of the storage is used again."""


class ArchiveHealth:
    """State of the process. Safe for several threads.

    Args:
        probe: uses the storage; raises ``Unavailable`` if that fails.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self, probe: Callable[[], object], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._probe = probe
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._turn_s = monotonic_s()
        self._brokers = (0, 0)
        self._probed_s = float("-inf")
        self._stores = False

    def note_turn(self, connected: int, brokers: int) -> None:
        """Note a turn of the receive loop.

        Args:
            connected: number of brokers to which there is a connection.
            brokers: number of configured brokers.
        """
        with self._lock:
            self._turn_s = self._monotonic_s()
            self._brokers = (connected, brokers)

    def report(self) -> HealthAnswer:
        """Return the state; probe the storage if the last probe is older than ``PROBE_S``."""
        now_s = self._monotonic_s()
        with self._lock:
            is_due = now_s - self._probed_s >= PROBE_S
            if is_due:
                self._probed_s = now_s
        if is_due:
            try:
                self._probe()
                self._stores = True
            except Unavailable:
                self._stores = False
        with self._lock:
            connected, brokers = self._brokers
            is_running = now_s - self._turn_s < LOOP_S
        return HealthAnswer(
            v=1,
            ok=is_running and self._stores,
            loop=is_running,
            storage=self._stores,
            brokers_connected=connected,
            brokers=brokers,
        )
