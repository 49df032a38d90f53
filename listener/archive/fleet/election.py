"""Election of one process by a lease in the database, timed by the database server's clock.

A process that hangs loses its lease, although its connection stays open.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from listener.archive.fleet.postgres import Postgres
from listener.errors import Unavailable

LEASE_S: Final = 15
RENEWAL_S: Final = 5.0

_log = logging.getLogger(__name__)


class Election:
    """Election for one task. For one thread; others may call it as well.

    Args:
        database: the database.
        task: name of the task.
        holder: name of this process.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        database: Postgres,
        task: str,
        holder: str,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._task = task
        self._holder = holder
        self._monotonic_s = monotonic_s
        self._asked_s = float("-inf")
        self._until_s = float("-inf")

    def __call__(self) -> bool:
        """Return True while this process is elected; take or renew the lease when due."""
        now_s = self._monotonic_s()
        if now_s - self._asked_s >= RENEWAL_S:
            self._asked_s = now_s
            try:
                is_held = self._renew()
            except Unavailable:
                pass  # an earlier lease lasts as long as it was given
            else:
                if is_held and self._until_s <= now_s:
                    _log.info("elected for: %s", self._task)
                # Counted from before the request: never longer than by the database's clock.
                self._until_s = now_s + LEASE_S if is_held else float("-inf")
        return now_s < self._until_s

    def _renew(self) -> bool:
        with self._database.connection() as connection:
            row = connection.execute(
                "insert into lease values (%(task)s, %(holder)s,"
                " clock_timestamp() + make_interval(secs => %(lease_s)s))"
                " on conflict (name) do update set holder = excluded.holder, until ="
                " excluded.until where lease.holder = excluded.holder"
                " or lease.until < clock_timestamp() returning true",
                {"task": self._task, "holder": self._holder, "lease_s": LEASE_S},
            ).fetchone()
        return row is not None
