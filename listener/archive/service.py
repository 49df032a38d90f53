"""The archive service: receives clips from the broker, expires them, and reloads the roster.

The process holds no decryption key and imports no module that decrypts.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from listener.archive.archive_clock import ArchiveClock
from listener.archive.health import ArchiveHealth
from listener.archive.hourly_report import HourlyReport
from listener.archive.intake_turns import IntakeTurns
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import Store
from listener.archive.retained_clips import RetainedClips
from listener.errors import Unavailable
from listener.mqtt import topics
from listener.mqtt.client import (
    Broker,
    BrokerEvent,
    ConnectedEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.mqtt.connections import (
    BrokerClients,
    BrokerConnection,
    BrokerConnections,
    ReconnectPauses,
)
from listener.quantities import quantity
from listener.system.systemd import Notifier, StopSignal

TURN_S: Final = 0.5
SHARED_PAUSE_S: Final = 0.25
"""Pause between two looks at what is to be published, where several archives share a database: each
look is a request to it, and a turn of the loop is as short as the time between two clips."""
RECONNECT: Final = ReconnectPauses(first_s=0.1, longest_s=30.0, spread=0.5, steady_s=5.0)

_log = logging.getLogger(__name__)


class Sweep(Protocol):
    """Periodic erasure of clips whose retention has ended."""

    def run_if_due(self) -> int:
        """Expire clips if a sweep is due; return the number of erased clips.

        Raises:
            Unavailable: the storage cannot be used.
        """


class ExpirySweep:
    """Periodic erasure of clips older than their ``ttl_s`` or their owner's retention limit.

    Clips expire by the archive's accepted time (see ``elapsed_time``): a wall clock that jumps
    forward by years erases nothing, and a jump postpones nothing that is due by running time.

    The sweep selects clips by index rows. So files and index are repaired first: a clip whose row
    is missing, or names another owner, then expires like any other.

    Args:
        store: the clips to expire.
        repair: reconciles the store's files and index; returns the number of rows created.
        clock: the archive's clock.
    """

    def __init__(self, store: Store, repair: Callable[[], int], clock: ArchiveClock) -> None:
        self._store = store
        self._repair = repair
        self._clock = clock

    def run_if_due(self) -> int:
        """Expire clips if a sweep is due; return the number of erased clips.

        Raises:
            Unavailable: the disk or the index cannot be used.
        """
        self._clock.update()
        if not self._clock.is_sweep_due():
            return 0
        self._clock.begin_sweep()
        try:
            if created := self._repair():
                _log.warning(
                    "the index lacked the rows of %s, which were restored",
                    quantity(created, "clip"),
                )
        except Unavailable as error:
            # Expiry makes room on a full disk, and one file must not keep the others.
            _log.warning("cannot repair the index before the expiry: %s", error)
        return self._store.expire(int(self._clock.accepted_s()))


class ArchiveService:
    """The archive's main loop. For one thread.

    With several brokers it serves all of them: it answers a clip at the broker that delivered it,
    and publishes what is retained at each.

    Args:
        broker: client of the MQTT broker, or clients of several.
        receiver: verifies and stores incoming envelopes.
        expiry: expires clips.
        publisher: publishes log heads, erasures and retention limits, if given.
        set_bounds: sets the bounds of retired keys, if given; called after every turn.
        service: notified after every turn.
        upkeep: called after every turn; raises ``Unavailable``.
        report: reports excessive use, if given.
        retained: removes retained clips from the broker; for several, one for each.
        turns: the clips that another archive stores; None for the only archive.
        health: told of every turn, if given.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(  # noqa: PLR0913 - all but three have their usual value
        self,
        broker: Broker | BrokerClients,
        receiver: Receiver,
        expiry: Sweep,
        *,
        publisher: ArchivePublisher | None = None,
        set_bounds: Callable[[], None] | None = None,
        service: Notifier | None = None,
        upkeep: Callable[[], None] | None = None,
        report: HourlyReport | None = None,
        retained: RetainedClips | Sequence[RetainedClips] | None = None,
        turns: IntakeTurns[BrokerConnection] | None = None,
        health: ArchiveHealth | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._turns = turns
        self._health = health
        self._connections = BrokerConnections(broker, RECONNECT, monotonic_s)
        if retained is None or isinstance(retained, RetainedClips):
            retained = [retained or RetainedClips(monotonic_s)]
        self._retained = dict(zip(self._connections.all, retained, strict=True))
        self._publisher = publisher
        self._set_bounds = set_bounds
        self._receiver = receiver
        self._expiry = expiry
        self._service = service
        self._upkeep = upkeep
        self._monotonic_s = monotonic_s
        self._look_s = float("-inf")
        self._rejection_logged: set[BrokerConnection] = set()

    def run(self, stop: StopSignal) -> None:
        """Run until a stop is requested, then close the connection."""
        while not stop.requested:
            self.turn(TURN_S)
        self._connections.close()

    def turn(self, longest_s: float) -> None:
        """Wait for broker events for at most ``longest_s`` seconds, and process them."""
        for connection, event in self._connections.poll(longest_s):
            self._handle(connection, event)
        for connection, message in () if self._turns is None else self._turns.take_due():
            self._store(connection, message)
        if self._health is not None:
            connected = sum(one.is_connected for one in self._connections.all)
            self._health.note_turn(connected, len(self._connections.all))
        self._run_periodic_tasks()

    def _handle(self, connection: BrokerConnection, event: BrokerEvent) -> None:
        match event:
            case ConnectedEvent():
                self._on_connected(connection)
            case DeniedEvent():
                _log.warning("the broker denied the subscription to clips: %s", event.reason)
            case Message(topic=ArchivePublisher.topic):
                self._on_published_head(event)
            case Message() if topics.STATUS.levels(event.topic) is not None:
                self._on_status(event)
            case Message() if topics.ACK.levels(event.topic) is not None:
                if self._turns is not None:
                    self._turns.on_answer(connection, event)
            case Message():
                self._on_clip(connection, event)
            case RejectedEvent():
                self._on_rejected(connection, event)
            case _:
                pass

    def _on_connected(self, connection: BrokerConnection) -> None:
        self._rejection_logged.discard(connection)
        # No session outlives the connection: the speakers' spools are the queue, and they send
        # again what arrived while the archive was disconnected.
        self._subscribe_to_clips(connection)
        if self._publisher is not None:
            connection.broker.subscribe(self._publisher.topic)
            connection.broker.subscribe(topics.STATUS.topic_filter())
            self._publisher.on_connected()

    def _subscribe_to_clips(self, connection: BrokerConnection) -> None:
        connection.broker.subscribe(topics.CLIP.topic_filter())
        if self._turns is not None:
            connection.broker.subscribe(topics.ACK.topic_filter())
        self._retained[connection].on_subscribed()

    def _on_clip(self, connection: BrokerConnection, message: Message) -> None:
        if (removal := self._retained[connection].removal_of(message)) is not None:
            connection.broker.publish(removal)
        if not message.payload and topics.CLIP.levels(message.topic) is not None:
            return  # removes a retained clip
        if self._turns is None or self._turns.is_own(connection, message):
            self._store(connection, message)

    def _store(self, connection: BrokerConnection, message: Message) -> None:
        if (answer := self._receiver.receive(message)) is not None:
            # Before the answer: a device that has it knows the number, too.
            self._publish_numbers()
            connection.broker.publish(answer)

    def _on_rejected(self, connection: BrokerConnection, event: RejectedEvent) -> None:
        """Log the first rejected message of a connection."""
        if connection not in self._rejection_logged:
            self._rejection_logged.add(connection)
            _log.warning(
                "the broker rejected a message of the archive: %s; if its access list is of an"
                " earlier version, run earmark household init and reload the broker",
                event.reason,
            )

    def _on_published_head(self, message: Message) -> None:
        if self._publisher is None:
            return
        try:
            self._publisher.on_message(message)
        except Unavailable as error:
            _log.warning("cannot compare the access log with the published head: %s", error)

    def _on_status(self, message: Message) -> None:
        if self._publisher is not None:
            self._publisher.on_status(message)

    def _publish_numbers(self) -> None:
        if self._publisher is None:
            return
        try:
            for message in self._publisher.pending_numbers():
                self._connections.publish(message)
        except Unavailable as error:
            _log.warning("cannot publish the highest accepted numbers: %s", error)

    def _run_periodic_tasks(self) -> None:
        if self._set_bounds is not None:
            self._set_bounds()
        for connection, retained in self._retained.items():
            if connection.is_connected and retained.is_subscription_due():
                self._subscribe_to_clips(connection)
        if self._publisher is not None and self._is_look_due():
            self._publish_pending(self._publisher)
        if self._service is not None:
            self._service.ping_watchdog()
        if self._upkeep is not None:
            self._maintain_disk(self._upkeep)
        if self._report is not None:
            self._report.run_if_due()
        try:
            if erased := self._expiry.run_if_due():
                _log.info("retention: erased %s", quantity(erased, "clip"))
        except Unavailable as error:
            _log.warning("retention: %s", error)

    def _is_look_due(self) -> bool:
        """Return whether to look for what is to be published: always, for the only archive."""
        if self._turns is None:
            return True
        now_s = self._monotonic_s()
        if now_s - self._look_s < SHARED_PAUSE_S:
            return False
        self._look_s = now_s
        return True

    def _publish_pending(self, publisher: ArchivePublisher) -> None:
        try:
            if not self._connections.is_connected:
                publisher.append_due_rows()
                return
            for message in publisher.pending_messages():
                self._connections.publish(message)
        except Unavailable as error:
            _log.warning("cannot publish the archive's messages: %s", error)

    def _maintain_disk(self, upkeep: Callable[[], None]) -> None:
        try:
            upkeep()
        except Unavailable as error:
            _log.warning("cannot maintain the archive's disk: %s", error)
