"""The archive service: receives clips from the broker, expires them, and reloads the roster.

The process holds no decryption key and imports no module that decrypts.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from listener.archive.archive_clock import ArchiveClock
from listener.archive.hourly_report import HourlyReport
from listener.archive.publisher import ArchivePublisher
from listener.archive.receiver import Receiver
from listener.archive.records import Store
from listener.archive.retained_clips import RetainedClips
from listener.errors import Unavailable
from listener.mqtt import topics
from listener.mqtt.client import (
    Broker,
    ConnectedEvent,
    ConnectionLostEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.quantities import quantity
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal

TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5
STEADY_S: Final = 5.0
"""A connection that lasted this long resets the backoff."""

_log = logging.getLogger(__name__)


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

    Args:
        broker: client of the MQTT broker.
        receiver: verifies and stores incoming envelopes.
        expiry: expires clips.
        publisher: publishes log heads, erasures and retention limits, if given.
        set_bounds: sets the bounds of retired keys, if given; called after every turn.
        service: notified after every turn.
        upkeep: called after every turn; raises ``Unavailable``.
        report: reports excessive use, if given.
        retained: removes retained clips from the broker.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(  # noqa: PLR0913 - all but three have their usual value
        self,
        broker: Broker,
        receiver: Receiver,
        expiry: ExpirySweep,
        *,
        publisher: ArchivePublisher | None = None,
        set_bounds: Callable[[], None] | None = None,
        service: Notifier | None = None,
        upkeep: Callable[[], None] | None = None,
        report: HourlyReport | None = None,
        retained: RetainedClips | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._retained = retained or RetainedClips(monotonic_s)
        self._broker = broker
        self._publisher = publisher
        self._set_bounds = set_bounds
        self._receiver = receiver
        self._expiry = expiry
        self._service = service
        self._upkeep = upkeep
        self._monotonic_s = monotonic_s
        self._connect_s = 0.0
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, spread=BACKOFF_SPREAD)
        self._connected = False
        self._since_s = 0.0
        self._last_reason = ""
        self._is_rejection_logged = False

    def run(self, stop: StopSignal) -> None:
        """Run until a stop is requested, then close the connection."""
        while not stop.requested:
            self.turn(TURN_S)
        self._broker.close()

    def turn(self, longest_s: float) -> None:
        """Wait for broker events for at most ``longest_s`` seconds, and process them."""
        now_s = self._monotonic_s()
        if not self._connected and now_s >= self._connect_s:
            self._connect_s = float("inf")
            self._broker.connect()
        for event in self._broker.poll(min(longest_s, max(0.0, self._connect_s - now_s))):
            match event:
                case ConnectedEvent():
                    self._on_connected(event)
                case ConnectionLostEvent():
                    self._on_connection_lost(event)
                case DeniedEvent():
                    _log.warning("the broker denied the subscription to clips: %s", event.reason)
                case Message(topic=ArchivePublisher.topic):
                    self._on_published_head(event)
                case Message() if topics.STATUS.levels(event.topic) is not None:
                    self._on_status(event)
                case Message():
                    self._on_clip(event)
                case RejectedEvent():
                    self._on_rejected(event)
                case _:
                    pass
        self._run_periodic_tasks()

    def _on_connected(self, event: ConnectedEvent) -> None:
        self._connected = True
        self._is_rejection_logged = False
        self._since_s = self._monotonic_s()
        _log.info("connected with MQTT %s", event.protocol)
        # No session outlives the connection: the speakers' spools are the queue, and they send
        # again what arrived while the archive was disconnected.
        self._subscribe_to_clips()
        if self._publisher is not None:
            self._broker.subscribe(self._publisher.topic)
            self._broker.subscribe(topics.STATUS.topic_filter())
            self._publisher.on_connected()

    def _subscribe_to_clips(self) -> None:
        self._broker.subscribe(topics.CLIP.topic_filter())
        self._retained.on_subscribed()

    def _on_clip(self, message: Message) -> None:
        if (removal := self._retained.removal_of(message)) is not None:
            self._broker.publish(removal)
        if not message.payload and topics.CLIP.levels(message.topic) is not None:
            return  # removes a retained clip
        if (answer := self._receiver.receive(message)) is not None:
            # Before the answer: a device that has it knows the number, too.
            self._publish_numbers()
            self._broker.publish(answer)

    def _on_connection_lost(self, event: ConnectionLostEvent) -> None:
        if self._connected or event.reason != self._last_reason:
            _log.warning("no connection to the broker%s", event.describe())
            if event.hint:
                _log.warning("%s", event.hint)
        self._last_reason = event.reason
        if self._connected and self._monotonic_s() - self._since_s >= STEADY_S:
            self._backoff.reset()
        self._connected = False
        self._connect_s = self._monotonic_s() + self._backoff.next_delay_s()

    def _on_rejected(self, event: RejectedEvent) -> None:
        """Log the first rejected message of a connection."""
        if not self._is_rejection_logged:
            self._is_rejection_logged = True
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
                self._broker.publish(message)
        except Unavailable as error:
            _log.warning("cannot publish the highest accepted numbers: %s", error)

    def _run_periodic_tasks(self) -> None:
        if self._set_bounds is not None:
            self._set_bounds()
        if self._connected and self._retained.is_subscription_due():
            self._subscribe_to_clips()
        if self._publisher is not None:
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

    def _publish_pending(self, publisher: ArchivePublisher) -> None:
        try:
            if not self._connected:
                publisher.append_due_rows()
                return
            for message in publisher.pending_messages():
                self._broker.publish(message)
        except Unavailable as error:
            _log.warning("cannot publish the archive's messages: %s", error)

    def _maintain_disk(self, upkeep: Callable[[], None]) -> None:
        try:
            upkeep()
        except Unavailable as error:
            _log.warning("cannot maintain the archive's disk: %s", error)
