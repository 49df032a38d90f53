"""Main loop of send: publishes notices at once, clips one at a time, and the current status."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from listener.ipc.control import ControlClient
from listener.ipc.notice_socket import NoticeSocket
from listener.ipc.notices import AskNotice
from listener.mqtt import topics
from listener.mqtt.client import (
    NO_SUBSCRIBERS,
    SESSION_TAKEN_OVER,
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
from listener.send.false_wakes import FalseWakes
from listener.send.inbound import CommandForwarder, InboundMessages
from listener.send.owner_challenges import ChallengePublisher
from listener.send.status import StatusPublisher, will
from listener.send.voice_relay import VoiceRelay
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal

TURN_S: Final = 0.5  # upper limit of the reaction to a stop, or to a clip without a notice
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5  # devices do not all reconnect at once
STEADY_S: Final = 5.0  # two devices of one name disconnect each other; slow them down
MOST_SHORT_CONNECTIONS: Final = 3  # in a row; MQTT 3.1.1 has no reason code
TRIM_PAUSE_S: Final = 600.0
FAREWELL_S: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Connection:
    """State of one connection."""

    limits: BrokerLimits
    since_s: float
    status: int = 0
    """Ticket of the first published status."""
    proven: bool = False
    """Whether the broker acknowledged that status."""


@dataclass(slots=True)
class _Schedule:
    """Times of the next connection attempt and spool clean-up, on the monotonic clock."""

    connect_s: float = 0.0
    trim_s: float = 0.0


class Sender:
    """Publisher of clips, events and status until stopped. For one thread.

    Args:
        delivery: selects the clip to publish.
        broker: the client, with ``will`` as its last will.
        notice_socket: source of hear's notices; None to empty the spool alone.
        controller: sends mute requests to hear; None as above.
        inbound: handles the archive's messages; None as above.
        challenges: publishes the challenges to this device's owners; None as above.
        voice: relays the messages of voice control; None as above.
        service: pinged at each turn.
        version: returns the running version and the state of an update; None to publish neither.
        temperature_c: returns the temperature of the processor, if it is known.
        false_wakes: counts wakes that were marked as false; None as above.
        hermes: publish each wake in the form of the Hermes protocol too.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(  # noqa: PLR0913 - all but two have defaults
        self,
        delivery: ClipDelivery,
        broker: Broker,
        *,
        notice_socket: NoticeSocket | None = None,
        controller: ControlClient | None = None,
        inbound: InboundMessages | None = None,
        challenges: ChallengePublisher | None = None,
        voice: VoiceRelay | None = None,
        service: Notifier | None = None,
        version: Callable[[], VersionReport] | None = None,
        temperature_c: Callable[[], float | None] = lambda: None,
        false_wakes: FalseWakes | None = None,
        hermes: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.delivery = delivery
        self._device = delivery.device
        self._spool = delivery.spool
        self._broker = broker
        self._notices = notice_socket
        self._inbound = inbound
        self._challenges = challenges
        self._voice = voice
        self._service = service
        self._status = StatusPublisher(
            self._device,
            self._spool,
            broker,
            version,
            temperature_c=temperature_c,
            false_wakes=false_wakes,
            hermes=hermes,
        )
        self.commands: Final = CommandForwarder(
            self._device, controller, self._status.mark_false_wake
        )
        self._monotonic_s = monotonic_s
        self._due = _Schedule()
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, spread=BACKOFF_SPREAD)
        self._link: _Connection | None = None
        self.was_connected = False
        """Whether the broker ever accepted a connection."""
        self.lost_because = ""
        """Reason for the last loss of the connection."""
        self.lost = ""
        """Address of the broker with that reason, as ``ConnectionLostEvent.describe``."""
        self.lost_hint = ""
        """Instruction for that reason, or empty."""
        self._short_connections = 0

    def run(self, stop: StopSignal) -> None:
        """Run until a stop is requested, then disconnect."""
        while not stop.requested:
            self.turn(TURN_S)
        self.disconnect()

    def drain(self, stop: StopSignal, patience_s: float) -> bool:
        """Run until the spool is empty, or nothing has changed for ``patience_s`` seconds.

        Returns:
            True if the spool is empty.
        """
        moved_s = self._monotonic_s()
        before = -1
        while not stop.requested:
            waiting = self.delivery.waiting()
            if waiting == 0:
                break
            if waiting != before:
                before, moved_s = waiting, self._monotonic_s()
            elif self._monotonic_s() - moved_s > patience_s:
                break
            self.turn(min(TURN_S, patience_s))
        empty = self.delivery.waiting() == 0
        self.disconnect()
        return empty

    def turn(self, longest_s: float) -> None:
        """Wait for events for at most ``longest_s`` seconds, then do all that is due."""
        now_s = self._monotonic_s()
        if self._link is None and now_s >= self._due.connect_s:
            # Not before the attempt ends, which the client reports.
            self._due.connect_s = float("inf")
            self._broker.connect()
        wait_s = min(longest_s, max(0.0, self._due.connect_s - now_s))
        for event in self._broker.poll(wait_s, (self._notices,) if self._notices else ()):
            self._handle_event(event)
        if self._notices is not None:
            for notice in self._notices.receive():
                if isinstance(notice, AskNotice) and self._voice is not None:
                    # First: assist has to answer before the speaker's command ends.
                    self._voice.publish_ask(bytes(notice.message), connected=self._link is not None)
                self._status.take(notice, connected=self._link is not None)
        self._work()

    def disconnect(self) -> None:
        """Publish that this device is offline, and disconnect."""
        if self._link is not None:
            ticket = self._broker.publish(will(self._device))
            until_s = self._monotonic_s() + FAREWELL_S
            while self._monotonic_s() < until_s:
                events = self._broker.poll(FAREWELL_S / 10)
                if any(
                    isinstance(event, ConnectionLostEvent)
                    or (isinstance(event, DeliveredEvent) and event.ticket == ticket)
                    for event in events
                ):
                    break
        self._link = None
        self._broker.close()

    def _handle_event(self, event: BrokerEvent) -> None:
        match event:
            case ConnectedEvent():
                self._on_connected(event)
            case ConnectionLostEvent():
                self._on_connection_lost(event)
            case DeliveredEvent():
                self._on_delivered(event)
            case RejectedEvent():
                self.delivery.on_rejected(event.ticket, event.code, event.reason)
            case DeniedEvent():
                _log.warning("the broker denied the subscription to acknowledgements or commands")
            case Message():
                levels = topics.ACK.levels(event.topic)
                if levels and levels["device"] == self._device:
                    self.delivery.on_answer(levels["clip"], event.payload)
                self.commands.take(event)
                if self._voice is not None:
                    self._voice.take(event)
                if self._inbound is not None and self._inbound.take(event):
                    self._due.trim_s = 0.0
            case _ as never:
                assert_never(never)

    def _on_connected(self, connected: ConnectedEvent) -> None:
        if self._link is not None:
            # Changed over to another broker: an answer to the clip in flight does not arrive.
            self.delivery.on_connection_lost(None, proven=False)
        self._link = _Connection(connected.limits, self._monotonic_s())
        self.was_connected = True
        _log.info("connected with MQTT %s", connected.protocol)
        inbound_topics = () if self._inbound is None else self._inbound.topics
        voice_topics = () if self._voice is None else self._voice.topics
        for topic in (
            topics.ACK.topic_filter(device=self._device),
            *self.commands.topics,
            *inbound_topics,
            *voice_topics,
        ):
            self._broker.subscribe(topic)
        self._link.status = self._status.publish(self._link.limits)
        if self._challenges is not None:
            self._challenges.on_connected()

    def _on_connection_lost(self, lost: ConnectionLostEvent) -> None:
        hint = lost.hint
        if self._link is not None and self._link.proven:
            is_short = self._monotonic_s() - self._link.since_s < STEADY_S
            self._short_connections = self._short_connections + 1 if is_short else 0
        if lost.code == SESSION_TAKEN_OVER:
            hint = (
                f"another speaker connects as {self._device}: give each its own device.name, and"
                " add it to the household"
            )
        elif self._short_connections >= MOST_SHORT_CONNECTIONS:
            hint = (
                f"check that no other speaker has the name {self._device}: each needs its own"
                " device.name"
            )
        is_new = (lost.reason, hint) != (self.lost_because, self.lost_hint)
        if self._link is not None or is_new:
            _log.warning("no connection to the broker%s", lost.describe())
            if hint:
                _log.warning("%s", hint)
        self.lost_because, self.lost_hint = lost.reason, hint
        self.lost = lost.describe()
        self.delivery.on_connection_lost(
            lost.code, proven=self._link is not None and self._link.proven
        )
        if self._link is not None and self._monotonic_s() - self._link.since_s >= STEADY_S:
            self._backoff.reset()
        self._link = None
        self._due.connect_s = self._monotonic_s() + self._backoff.next_delay_s()

    def _on_delivered(self, delivered: DeliveredEvent) -> None:
        if self._link is not None and delivered.ticket == self._link.status:
            self._link.proven = True
        # Not of a status or an event, which need no subscriber.
        if delivered.code == NO_SUBSCRIBERS and self.delivery.is_in_flight(delivered.ticket):
            _log.info("the clip has no subscribers: the archive is not connected to the broker")
        self.delivery.on_delivered(delivered.ticket)

    def _work(self) -> None:
        now_s = self._monotonic_s()
        self._status.expire_state(now_s)
        if self._voice is not None:
            self._voice.turn(None if self._link is None else self._link.limits)
            self._status.set_dropped_copies(self._voice.dropped)
        if self._service is not None:
            self._service.ping_watchdog()
        self.commands.retry()
        if now_s >= self._due.trim_s:
            self._due.trim_s = now_s + TRIM_PAUSE_S
            try:
                self._spool.trim()
                if self._inbound is not None:
                    self._spool.expire(self._inbound.longest_s())
            except OSError as error:
                _log.warning("cannot trim the spool: %s", error.strerror)
        # The broker's acknowledgement of the first status proves the connection: if it breaks
        # during a clip after that, the clip may be the cause.
        if self._link is None or not self._link.proven:
            return
        if self._challenges is not None:
            self._challenges.turn()
        if (clip := self.delivery.next(now_s, self._link.limits)) is not None:
            self.delivery.on_published(self._broker.publish(clip))
        self._status.set_suspended(self.delivery.suspension.reason)
        self._status.set_not_stored(self.delivery.not_stored)
        self._status.publish_if_changed(now_s, self._link.limits)
