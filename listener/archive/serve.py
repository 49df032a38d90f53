"""Take clips from the broker, keep them, answer. It holds no key and imports nothing that opens."""

import logging
import os
import random
import time
from collections.abc import Callable
from typing import Final

from listener.archive.receive import Receiver
from listener.archive.store import Store
from listener.errors import ConfigError, Unavailable
from listener.home import Home
from listener.mqtt import topics
from listener.mqtt.broker import Broker, Connected, Denied, Lost, Message
from listener.owner.roster import Roster
from listener.service import Service, Stop

TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
STEADY_S: Final = 5.0
SWEEP_PAUSE_S: Final = 3600.0
MOST_DRIFT_S: Final = 60.0

_log = logging.getLogger(__name__)


class FreshRoster:
    """The roster as the file says now, read again only when the file has changed.

    A roster that is damaged while we run leaves the last good one in force: nobody gains a right
    by damaging a file.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.path / "roster.json"
        self._stamp = self._look()
        self._roster = home.roster()

    def __call__(self) -> Roster:
        """Return it."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._roster = self._home.roster()
            except (ConfigError, Unavailable) as error:
                _log.warning("the roster as it was stays in force: %s", error)
        return self._roster

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - a hot path
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


class Retention:
    """Erase what has outlived its ``ttl_s``, when the clock can be believed.

    A clock that jumps forward by years must not empty an archive. So a sweep needs an hour through
    which the wall clock kept step with one that never jumps; a jump begins a new hour.

    Args:
        store: what to sweep.
        wall_s: seconds since 1970.
        monotonic_s: a clock that never jumps.
    """

    def __init__(
        self,
        store: Store,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._begin()

    def look(self) -> int:
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
        return self._store.expire(int(self._wall_s()))

    def _begin(self) -> None:
        self._since_s = self._monotonic_s()
        self._since_wall_s = self._wall_s()


class Server:
    """Turn until told to stop. For one thread.

    Args:
        broker: its client.
        receiver: judges what comes.
        retention: sweeps.
        service: told that the loop turns.
        monotonic_s: a clock that never jumps.
    """

    def __init__(
        self,
        broker: Broker,
        receiver: Receiver,
        retention: Retention,
        *,
        service: Service | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._receiver = receiver
        self._retention = retention
        self._service = service
        self._monotonic_s = monotonic_s
        self._connect_s = 0.0
        self._backoff_s = FIRST_BACKOFF_S
        self._connected = False
        self._since_s = 0.0
        self._lost_because = ""

    def run(self, stop: Stop) -> None:
        """Turn until somebody asks for the end; say goodbye."""
        while not stop.is_asked:
            self.turn(TURN_S)
        self._broker.close()

    def turn(self, longest_s: float) -> None:
        """Wait for at most ``longest_s`` seconds, and do all that there is to do."""
        now_s = self._monotonic_s()
        if not self._connected and now_s >= self._connect_s:
            self._connect_s = float("inf")
            self._broker.connect()
        for happening in self._broker.poll(min(longest_s, max(0.0, self._connect_s - now_s))):
            match happening:
                case Connected():
                    self._connected = True
                    self._since_s = self._monotonic_s()
                    _log.info("connected with MQTT %s", happening.protocol)
                    # No session outlives the connection: the spools are the queue, and what came
                    # while we were away comes again.
                    self._broker.subscribe(topics.CLIP.all())
                case Lost():
                    self._lost(happening)
                case Denied():
                    _log.warning("the broker lets us hear no clips: %s", happening.reason)
                case Message():
                    if (answer := self._receiver.receive(happening)) is not None:
                        self._broker.publish(answer)
                case _:
                    pass
        self._look_after()

    def _lost(self, lost: Lost) -> None:
        if self._connected or lost.reason != self._lost_because:
            _log.warning("no connection to the broker: %s", lost.reason)
        self._lost_because = lost.reason
        if self._connected and self._monotonic_s() - self._since_s >= STEADY_S:
            self._backoff_s = FIRST_BACKOFF_S
        self._connected = False
        spread_s = self._backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._connect_s = self._monotonic_s() + spread_s
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)

    def _look_after(self) -> None:
        if self._service is not None:
            self._service.alive()
        try:
            if erased := self._retention.look():
                _log.info("retention: erased %d clips", erased)
        except Unavailable as error:
            _log.warning("retention: %s", error)
