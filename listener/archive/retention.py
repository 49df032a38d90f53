"""When clips have outlived their time, by a clock that is believed only while it is steady."""

import logging
import time
from collections.abc import Callable
from typing import Final

from listener.archive.keeping import Store

SWEEP_PAUSE_S: Final = 3600.0
MOST_DRIFT_S: Final = 60.0

_log = logging.getLogger(__name__)


class ExpirySweep:
    """Erase what has outlived its ``ttl_s``, when the clock can be believed.

    A clock that jumps forward by years must not empty an archive. So a sweep needs an hour through
    which the wall clock kept step with one that never jumps; a jump begins a new hour.

    What is overdue is found by the rows of the index. So files and rows are brought together
    first: a clip whose row was lost, or names another owner, is found and ends like any other.

    Args:
        store: what to sweep.
        mend: brings its files and rows together; returns how many rows were made.
        wall_s: seconds since 1970.
        monotonic_s: a clock that never jumps.
    """

    def __init__(
        self,
        store: Store,
        mend: Callable[[], int],
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._mend = mend
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._begin()

    def run_if_due(self) -> int:
        """Sweep if it is time; return how many clips were erased."""
        steady_s = self._monotonic_s() - self._since_s
        drift_s = self._wall_s() - self._since_wall_s - steady_s
        if abs(drift_s) > MOST_DRIFT_S:
            _log.warning("the clock jumped by %.0f s: retention waits until it is steady", drift_s)
            self._begin()
            return 0
        if steady_s < SWEEP_PAUSE_S:
            return 0
        self._begin()
        if made := self._mend():
            _log.warning(
                "%d clips had no row in the index that is theirs, and have one again", made
            )
        return self._store.expire(int(self._wall_s()))

    def _begin(self) -> None:
        self._since_s = self._monotonic_s()
        self._since_wall_s = self._wall_s()
