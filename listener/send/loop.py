"""One turn after the other: notices out at once, one clip in flight, a status that stays true."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from listener.ipc.control import ControlClient
from listener.ipc.notice_socket import NoticeSocket
from listener.mqtt import topics
from listener.mqtt.client import (
    NO_SUBSCRIBERS,
    Broker,
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.release.state import VersionReport
from listener.send.delivery import ClipDelivery
from listener.send.inbound import CommandForwarder, InboundMessages
from listener.send.status import StatusPublisher, will
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal

TURN_S: Final = 0.5  # the longest that a stop, or a clip without a notice, waits to be seen
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5  # a broker that comes back is not met by all devices at once
STEADY_S: Final = 5.0  # two devices of one name end each other's connections; let them do it slowly
TRIM_PAUSE_S: Final = 600.0
FAREWELL_S: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Connection:
    """One connection, from the welcome to the loss."""

    limits: BrokerLimits
    since_s: float
    status: int = 0
    """Ticket of the status that was published first."""
    proven: bool = False
    """The broker has receipted that status."""


@dataclass(slots=True)
class _Schedule:
    """When what is due next, on a clock that never jumps."""

    connect_s: float = 0.0
    trim_s: float = 0.0


class Sender:
    """Carry clips and notices to the broker until told to stop. For one thread.

    Args:
        courier: decides which clip goes.
        broker: its client, with ``will`` as its last will.
        notice_socket: where hear speaks, or None when only the spool is to be emptied.
        controller: tells hear to mute, or None as above.
        bidding: what the archive has for this speaker, or None as above.
        service: told that the loop turns.
        version: says which version runs, and how an update goes; None where nobody is told.
        monotonic_s: a clock that never jumps.
    """

    def __init__(  # noqa: PLR0913 - all but two have their usual value
        self,
        courier: ClipDelivery,
        broker: Broker,
        *,
        notice_socket: NoticeSocket | None = None,
        controller: ControlClient | None = None,
        bidding: InboundMessages | None = None,
        service: Notifier | None = None,
        version: Callable[[], VersionReport] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.courier = courier
        self._device = courier.device
        self._spool = courier.spool
        self._broker = broker
        self._notices = notice_socket
        self.commands: Final = CommandForwarder(self._device, controller)
        self._bidding = bidding
        self._service = service
        self._account = StatusPublisher(self._device, self._spool, broker, version)
        self._monotonic_s = monotonic_s
        self._due = _Schedule()
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, spread=BACKOFF_SPREAD)
        self._link: _Connection | None = None
        self.was_connected = False
        """Whether the broker ever welcomed us."""
        self.lost_because = ""
        """Why there is no connection, or was none last."""

    def run(self, stop: StopSignal) -> None:
        """Turn until somebody asks for the end; say goodbye."""
        while not stop.requested:
            self.turn(TURN_S)
        self.disconnect()

    def drain(self, stop: StopSignal, patience_s: float) -> bool:
        """Turn until the spool is empty, or nothing has moved for ``patience_s``.

        Returns:
            Whether it is empty.
        """
        moved_s = self._monotonic_s()
        before = -1
        while not stop.requested:
            waiting = self.courier.waiting()
            if waiting == 0:
                break
            if waiting != before:
                before, moved_s = waiting, self._monotonic_s()
            elif self._monotonic_s() - moved_s > patience_s:
                break
            self.turn(min(TURN_S, patience_s))
        empty = self.courier.waiting() == 0
        self.disconnect()
        return empty

    def turn(self, longest_s: float) -> None:
        """Wait for at most ``longest_s`` seconds, and do all that there is to do."""
        now_s = self._monotonic_s()
        if self._link is None and now_s >= self._due.connect_s:
            # Until the welcome, so that an answer which never comes is not asked for again.
            self._due.connect_s = float("inf")
            self._broker.connect()
        wait_s = min(longest_s, max(0.0, self._due.connect_s - now_s))
        for happening in self._broker.poll(wait_s, (self._notices,) if self._notices else ()):
            self._handle_event(happening)
        if self._notices is not None:
            for notice in self._notices.receive():
                self._account.take(notice, connected=self._link is not None)
        self._work()

    def disconnect(self) -> None:
        """Say on the broker that this device is offline, and leave."""
        if self._link is not None:
            ticket = self._broker.publish(will(self._device))
            until_s = self._monotonic_s() + FAREWELL_S
            while self._monotonic_s() < until_s:
                happened = self._broker.poll(FAREWELL_S / 10)
                if any(
                    isinstance(one, ConnectionLostEvent)
                    or (isinstance(one, DeliveredEvent) and one.ticket == ticket)
                    for one in happened
                ):
                    break
        self._link = None
        self._broker.close()

    def _handle_event(self, happening: BrokerEvent) -> None:
        match happening:
            case ConnectedEvent():
                self._on_connected(happening)
            case ConnectionLostEvent():
                self._on_connection_lost(happening)
            case DeliveredEvent():
                self._on_delivered(happening)
            case RejectedEvent():
                self.courier.on_rejected(happening.ticket, happening.code, happening.reason)
            case DeniedEvent():
                _log.warning("the broker lets us hear no acknowledgements, or no commands")
            case Message():
                levels = topics.ACK.levels(happening.topic)
                if levels and levels["device"] == self._device:
                    self.courier.on_answer(levels["clip"], happening.payload)
                self.commands.take(happening)
                if self._bidding is not None and self._bidding.take(happening):
                    self._due.trim_s = 0.0
            case _ as never:
                assert_never(never)

    def _on_connected(self, connected: ConnectedEvent) -> None:
        self._link = _Connection(connected.limits, self._monotonic_s())
        self.was_connected = True
        _log.info("connected with MQTT %s", connected.protocol)
        wanted = () if self._bidding is None else self._bidding.topics
        for topic in (topics.ACK.topic_filter(device=self._device), *self.commands.topics, *wanted):
            self._broker.subscribe(topic)
        self._link.status = self._account.publish(self._link.limits)

    def _on_connection_lost(self, lost: ConnectionLostEvent) -> None:
        if self._link is not None or lost.reason != self.lost_because:
            _log.warning("no connection to the broker: %s", lost.reason)
        self.lost_because = lost.reason
        self.courier.on_connection_lost(
            lost.code, proven=self._link is not None and self._link.proven
        )
        if self._link is not None and self._monotonic_s() - self._link.since_s >= STEADY_S:
            self._backoff.reset()
        self._link = None
        self._due.connect_s = self._monotonic_s() + self._backoff.next_delay_s()

    def _on_delivered(self, delivered: DeliveredEvent) -> None:
        if self._link is not None and delivered.ticket == self._link.status:
            self._link.proven = True
        if delivered.code == NO_SUBSCRIBERS:
            _log.info("the broker says that nobody takes it: is the archive running?")
        self.courier.on_delivered(delivered.ticket)

    def _work(self) -> None:
        now_s = self._monotonic_s()
        if self._service is not None:
            self._service.ping_watchdog()
        self.commands.retry()
        if now_s >= self._due.trim_s:
            self._due.trim_s = now_s + TRIM_PAUSE_S
            try:
                self._spool.trim()
                if self._bidding is not None:
                    self._spool.expire(self._bidding.longest_s())
            except OSError as error:
                _log.warning("cannot look after the spool: %s", error.strerror)
        # The broker's receipt for the first status shows that the connection carries: from then
        # on a clip on which it breaks may be to blame.
        if self._link is None or not self._link.proven:
            return
        if (clip := self.courier.next(now_s, self._link.limits)) is not None:
            self.courier.on_published(self._broker.publish(clip))
        self._account.publish_if_changed(now_s, self._link.limits)
