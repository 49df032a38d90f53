"""Connections of a service to every broker of the household, polled together.

Each connection has attempts, a backoff and log lines of its own: a broker that is down keeps the
service from none of the others.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from listener.config import BrokerSettings
from listener.mqtt.background_connect import BackgroundConnectBroker, wait_readable
from listener.mqtt.client import (
    Broker,
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
    SelectableBroker,
    Waitable,
)
from listener.mqtt.connection_record import RecordedBroker, record_path
from listener.system.backoff import Backoff

_log = logging.getLogger(__name__)


Wait = Callable[[float, Sequence[Waitable]], None]
"""Waits for at most so many seconds, until a broker or one of the descriptors has something."""


@dataclass(frozen=True, slots=True)
class BrokerClients:
    """Clients of a service, one for each broker of the household."""

    clients: tuple[Broker, ...]
    wait: Wait | None = None
    """Waits for all of them; None for a single client, whose ``poll`` waits."""


@dataclass(frozen=True, slots=True)
class ReconnectPauses:
    """Pauses between the attempts to connect to one broker, in seconds."""

    first_s: float
    longest_s: float
    spread: float
    """Random part of each pause."""
    steady_s: float
    """A connection that lasted this long ends the growth of the pauses."""


class BrokerConnection:
    """A service's connection to one broker. For one thread.

    Args:
        broker: the client.
        pauses: between attempts.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self, broker: Broker, pauses: ReconnectPauses, monotonic_s: Callable[[], float]
    ) -> None:
        self.broker: Final = broker
        self.is_connected = False
        self._pauses = pauses
        self._monotonic_s = monotonic_s
        self._backoff = Backoff(pauses.first_s, pauses.longest_s, spread=pauses.spread)
        self.due_s = float("-inf")
        """Time of the next attempt, on the monotonic clock."""
        self._since_s = 0.0
        self._last_reason = ""

    def connect_if_due(self, now_s: float) -> None:
        """Start an attempt if it is time."""
        if not self.is_connected and now_s >= self.due_s:
            self.due_s = float("inf")
            self.broker.connect()

    def note(self, event: BrokerEvent) -> None:
        """Note whether the connection begins or ends with an event."""
        match event:
            case ConnectedEvent():
                self.is_connected = True
                self.due_s = float("inf")
                self._since_s = self._monotonic_s()
                _log.info("connected with MQTT %s", event.protocol)
            case ConnectionLostEvent():
                if self.is_connected or event.reason != self._last_reason:
                    _log.warning("no connection to the broker%s", event.describe())
                    if event.hint:
                        _log.warning("%s", event.hint)
                self._last_reason = event.reason
                is_steady = self._monotonic_s() - self._since_s >= self._pauses.steady_s
                if self.is_connected and is_steady:
                    self._backoff.reset()
                self.is_connected = False
                self.due_s = self._monotonic_s() + self._backoff.next_delay_s()
            case _:
                pass


class BrokerConnections:
    """Connections of a service to every broker. For one thread.

    Args:
        brokers: the clients; or one client, where there is one broker.
        pauses: between the attempts of each.
        monotonic_s: monotonic clock, in seconds.
        wall_s: seconds since 1970.
    """

    def __init__(
        self,
        brokers: Broker | BrokerClients,
        pauses: ReconnectPauses,
        monotonic_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._wall_s = wall_s
        given = brokers if isinstance(brokers, BrokerClients) else BrokerClients((brokers,))
        self.all: Final = tuple(BrokerConnection(one, pauses, monotonic_s) for one in given.clients)
        self._wait: Final = given.wait
        self._monotonic_s = monotonic_s

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any broker."""
        return any(one.is_connected for one in self.all)

    def poll(
        self, longest_s: float, also: Sequence[Waitable] = ()
    ) -> Iterator[tuple[BrokerConnection, BrokerEvent]]:
        """Connect where it is time, wait for events, and yield each with its connection.

        Args:
            longest_s: longest wait, in seconds.
            also: descriptors whose data ends the wait.
        """
        now_s = self._monotonic_s()
        for one in self.all:
            one.connect_if_due(now_s)
        wait_s = max(0.0, min(longest_s, *(one.due_s - now_s for one in self.all)))
        if self._wait is not None:
            self._wait(wait_s, also)
            wait_s = 0.0
        for one in self.all:
            for event in one.broker.poll(wait_s, also):
                one.note(event)
                yield one, event

    def publish(self, message: Message) -> None:
        """Publish a message at every broker to which there is a connection.

        With several brokers a retained message carries the time, so that a receiver recognises an
        older one that another broker kept.
        """
        if self._wait is not None and message.retain:
            message = replace(message, published_ms=int(self._wall_s() * 1000))
        for one in self.all:
            if one.is_connected:
                one.broker.publish(message)

    def close(self) -> None:
        """Disconnect from all, so that no last will is published."""
        for one in self.all:
            one.broker.close()


def wait_for_any(brokers: Sequence[SelectableBroker]) -> Wait:
    """Return the function that waits for any of several brokers."""

    def wait(longest_s: float, also: Sequence[Waitable]) -> None:
        is_ready = any(broker.is_ready() for broker in brokers)
        waitables = [each for broker in brokers for each in broker.descriptors()]
        wait_readable((*waitables, *also), 0.0 if is_ready else longest_s)

    return wait


def recorded_clients(
    settings: BrokerSettings,
    folder: Path,
    verb: str,
    make: Callable[[BrokerSettings], SelectableBroker],
) -> BrokerClients:
    """Return clients of all brokers that record their connections for ``earmark doctor``.

    Args:
        settings: one broker or several.
        folder: the folder of the service's lock file.
        verb: the service's command, such as ``archive``.
        make: returns the client of one broker.

    Raises:
        ConfigError: a setting or a configured file is invalid.
    """
    each = settings.each()
    if len(each) == 1:
        client = make(each[0])
        return BrokerClients((RecordedBroker(client, record_path(folder, verb), each[0].address),))
    brokers = [BackgroundConnectBroker(make(one)) for one in each]
    recorded = (
        RecordedBroker(broker, record_path(folder, verb, number), one.address)
        for number, (broker, one) in enumerate(zip(brokers, each, strict=True), 1)
    )
    return BrokerClients(tuple(recorded), wait_for_any(brokers))
