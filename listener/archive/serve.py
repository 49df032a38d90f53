"""Take clips from the broker, keep them, answer. It holds no key and imports nothing that opens."""

import logging
import time
from collections.abc import Callable
from typing import Final

from listener.archive.herald import ArchivePublisher
from listener.archive.receive import Receiver
from listener.archive.retention import ExpirySweep
from listener.errors import Unavailable
from listener.mqtt import topics
from listener.mqtt.client import Broker, ConnectedEvent, ConnectionLostEvent, DeniedEvent, Message
from listener.system.backoff import Backoff
from listener.system.systemd import Notifier, StopSignal

TURN_S: Final = 0.5
FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_SPREAD: Final = 0.5
STEADY_S: Final = 5.0

_log = logging.getLogger(__name__)


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
