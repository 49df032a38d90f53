"""Take clips from the broker, keep them, answer. It holds no key and imports nothing that opens."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from listener.accesslog import Entry
from listener.archive.holdings import Holdings
from listener.archive.keeping import Store
from listener.archive.orders import Orders
from listener.archive.receive import Receiver
from listener.backoff import Backoff
from listener.errors import ConfigError, Unavailable
from listener.home import Home
from listener.mqtt import terms, topics
from listener.mqtt.broker import Broker, Connected, Denied, Lost, Message
from listener.owner.roster import ARCHIVE, Roster
from listener.rights import receipt
from listener.service import Service, Stop

TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5
STEADY_S: Final = 5.0
SWEEP_PAUSE_S: Final = 3600.0
MOST_DRIFT_S: Final = 60.0
MOST_TOLD_A_TURN: Final = 20

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
            status = self._path.stat()
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


class Herald:
    """What the archive says unasked: where its log ends, and which clips devices may let go of.

    Whoever holds a head notices a log that was cut or rewritten, the archive included: a head on
    the broker that is ahead of the log means that an older copy of this home was put back.

    Args:
        holdings: the log and the erased clips.
    """

    topic: Final = topics.STATUS.name(device=ARCHIVE)

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._said = -1
        self._told = -1
        self._looked = False

    def connected(self) -> None:
        """Say everything anew on this connection."""
        self._said = self._told = -1

    def heard(self, message: Message) -> None:
        """Compare what the broker has kept with the log; the first one counts, the rest is ours."""
        if self._looked or not message.retain:
            return
        self._looked = True
        try:
            kept = receipt.parse_head(message.payload, self._holdings.key.public_key()).bare()
        except receipt.Forged:
            return
        if self._holdings.log.hash_at(kept.n) != kept.hash:
            _log.error(
                "the access log does not hold the head that was published for row %d:"
                " an older copy of this home was put back, or the log was changed",
                kept.n,
            )
            for owner in self._holdings.roster().owners:
                self._holdings.log.append(Entry(owner=owner.name, op="restored", outcome="failed"))

    def says(self) -> Iterator[Message]:
        """Yield what is to be published now."""
        end = self._holdings.log.head().n
        if end != self._said:
            self._said = end
            status = msgspec.json.encode(self._holdings.head(), order="sorted")
            yield Message(self.topic, status, topics.STATUS.qos, topics.STATUS.retain)
        orders = self._holdings.store.orders
        if orders.version != self._told:
            self._told = orders.version
            yield from self._orders(orders)
        for _ in range(min(MOST_TOLD_A_TURN, len(self._holdings.gone))):
            gone = self._holdings.gone.popleft()
            answer = topics.Answer(gone.sha256, topics.ERASED).encode()
            topic = topics.ACK.name(device=gone.device, clip=gone.clip)
            yield Message(topic, answer, topics.ACK.qos, topics.ACK.retain)

    def _orders(self, orders: Orders) -> Iterator[Message]:
        for term in orders.terms():
            payload = terms.encode(term, self._holdings.key.sign)
            topic = topics.RETENTION.name(owner=term.owner)
            yield Message(topic, payload, topics.RETENTION.qos, topics.RETENTION.retain)
        for device, said in orders.carried().items():
            payload = f"[{','.join(said)}]".encode()
            topic = topics.KEYS.name(device=device)
            yield Message(topic, payload, topics.KEYS.qos, topics.KEYS.retain)


class Server:
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
        retention: Retention,
        *,
        herald: Herald | None = None,
        service: Service | None = None,
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
                    if self._herald is not None:
                        self._broker.subscribe(self._herald.topic)
                        self._herald.connected()
                case Lost():
                    self._lost(happening)
                case Denied():
                    _log.warning("the broker lets us hear no clips: %s", happening.reason)
                case Message(topic=Herald.topic):
                    self._hear(happening)
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
            self._backoff.succeeded()
        self._connected = False
        self._connect_s = self._monotonic_s() + self._backoff.next_s()

    def _hear(self, message: Message) -> None:
        if self._herald is None:
            return
        try:
            self._herald.heard(message)
        except Unavailable as error:
            _log.warning("the access log: %s", error)

    def _look_after(self) -> None:
        if self._herald is not None and self._connected:
            try:
                for message in self._herald.says():
                    self._broker.publish(message)
            except Unavailable as error:
                _log.warning("the access log: %s", error)
        if self._service is not None:
            self._service.alive()
        try:
            if erased := self._retention.look():
                _log.info("retention: erased %d clips", erased)
        except Unavailable as error:
            _log.warning("retention: %s", error)
