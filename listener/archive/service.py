"""Take clips from the broker, keep them, answer. It holds no key and imports nothing that opens.

When clips have outlived their time, by a clock that is believed only while it is steady.

Whom the archive believes: the household's roster, as its file says at this moment.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import Store
from listener.errors import ConfigError, Unavailable
from listener.mqtt import topics
from listener.mqtt.client import Broker, ConnectedEvent, ConnectionLostEvent, DeniedEvent, Message
from listener.owner.roster import Roster
from listener.storage.home import Home
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal

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


TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5
STEADY_S: Final = 5.0


class ArchiveService:
    """Turn until told to stop. For one thread.

    Args:
        broker: its client.
        receiver: judges what comes.
        retention: sweeps.
        herald: what is to be said unasked, if anything.
        service: told that the loop turns.
        monotonic_s: a clock that never jumps.
    """

    def __init__(  # noqa: PLR0913 - all but three have their usual value
        self,
        broker: Broker,
        receiver: Receiver,
        retention: ExpirySweep,
        *,
        herald: ArchivePublisher | None = None,
        service: Notifier | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._herald = herald
        self._receiver = receiver
        self._retention = retention
        self._service = service
        self._monotonic_s = monotonic_s
        self._connect_s = 0.0
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, spread=BACKOFF_SPREAD)
        self._connected = False
        self._since_s = 0.0
        self._lost_because = ""

    def run(self, stop: StopSignal) -> None:
        """Turn until somebody asks for the end; say goodbye."""
        while not stop.requested:
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
                case ConnectedEvent():
                    self._connected = True
                    self._since_s = self._monotonic_s()
                    _log.info("connected with MQTT %s", happening.protocol)
                    # No session outlives the connection: the spools are the queue, and what came
                    # while we were away comes again.
                    self._broker.subscribe(topics.CLIP.topic_filter())
                    if self._herald is not None:
                        self._broker.subscribe(self._herald.topic)
                        self._herald.on_connected()
                case ConnectionLostEvent():
                    self._on_connection_lost(happening)
                case DeniedEvent():
                    _log.warning("the broker lets us hear no clips: %s", happening.reason)
                case Message(topic=ArchivePublisher.topic):
                    self._on_message(happening)
                case Message():
                    if (answer := self._receiver.receive(happening)) is not None:
                        self._broker.publish(answer)
                case _:
                    pass
        self._run_periodic_tasks()

    def _on_connection_lost(self, lost: ConnectionLostEvent) -> None:
        if self._connected or lost.reason != self._lost_because:
            _log.warning("no connection to the broker: %s", lost.reason)
        self._lost_because = lost.reason
        if self._connected and self._monotonic_s() - self._since_s >= STEADY_S:
            self._backoff.reset()
        self._connected = False
        self._connect_s = self._monotonic_s() + self._backoff.next_delay_s()

    def _on_message(self, message: Message) -> None:
        if self._herald is None:
            return
        try:
            self._herald.on_message(message)
        except Unavailable as error:
            _log.warning("the access log: %s", error)

    def _run_periodic_tasks(self) -> None:
        if self._herald is not None and self._connected:
            try:
                for message in self._herald.pending_messages():
                    self._broker.publish(message)
            except Unavailable as error:
                _log.warning("the access log: %s", error)
        if self._service is not None:
            self._service.ping_watchdog()
        try:
            if erased := self._retention.run_if_due():
                _log.info("retention: erased %d clips", erased)
        except Unavailable as error:
            _log.warning("retention: %s", error)


class ReloadingRoster:
    """The roster as the file says now, read again only when the file has changed.

    A roster that is damaged while we run leaves the last good one in force: nobody gains a right
    by damaging a file.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.path / "roster.json"
        self._stamp = self._reload()
        self._roster = home.roster()

    def __call__(self) -> Roster:
        """Return it."""
        stamp = self._reload()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._roster = self._home.roster()
            except (ConfigError, Unavailable) as error:
                _log.warning("the roster as it was stays in force: %s", error)
        return self._roster

    def _reload(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
