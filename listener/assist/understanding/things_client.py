"""Publishes to the things of a home, with one short connection for each command."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from listener.assist.understanding.home_actions import ThingMessage
from listener.config import BrokerSettings
from listener.errors import Unavailable
from listener.mqtt.client import (
    Broker,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    RejectedEvent,
)
from listener.mqtt.paho_client import PahoBroker

CONNECT_S: Final = 2.0
ACKNOWLEDGE_S: Final = 2.0


class ThingsPublisher(Protocol):
    """Sends messages to things."""

    def publish(self, messages: Sequence[ThingMessage]) -> bool:
        """Publish messages once, and return whether the broker has taken all of them.

        Raises:
            Unavailable: the broker cannot be reached, and nothing was published.
        """


class ThingsClient:
    """Publisher over MQTT. A lost acknowledgement is reported; nothing is published again.

    Args:
        settings: the broker of the things, or several: the first that answers is used.
        make_broker: makes a client that is not connected yet.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        make_broker: Callable[[BrokerSettings, str], Broker] = PahoBroker,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._make_broker = make_broker
        self._monotonic_s = monotonic_s

    def publish(self, messages: Sequence[ThingMessage]) -> bool:
        """Publish messages once; see `ThingsPublisher`."""
        failed = []
        for settings in self._settings.each():
            broker = self._make_broker(settings, f"earmark-{secrets.token_hex(6)}")
            try:
                if not self._connect(broker):
                    failed.append(settings.address)
                    continue
                tickets = {
                    broker.publish(Message(message.topic, message.payload.encode(), qos=1))
                    for message in messages
                }
                return self._wait(broker, tickets)
            finally:
                broker.close()
        raise Unavailable(
            f"the broker of the home's things at {', '.join(failed)} cannot be reached",
            "check the section broker of the home file, and that the broker runs",
        )

    def _connect(self, broker: Broker) -> bool:
        """Connect; return whether that worked."""
        until_s = self._monotonic_s() + CONNECT_S
        broker.connect()
        while self._monotonic_s() < until_s:
            for event in broker.poll(max(0.0, until_s - self._monotonic_s())):
                if isinstance(event, ConnectedEvent):
                    return True
                if isinstance(event, ConnectionLostEvent):
                    # The other version of MQTT is tried next.
                    broker.connect()
        return False

    def _wait(self, broker: Broker, tickets: set[int]) -> bool:
        until_s = self._monotonic_s() + ACKNOWLEDGE_S
        while tickets and self._monotonic_s() < until_s:
            for event in broker.poll(max(0.0, until_s - self._monotonic_s())):
                if isinstance(event, DeliveredEvent):
                    tickets.discard(event.ticket)
                if isinstance(event, RejectedEvent | ConnectionLostEvent):
                    return False
        return not tickets
