"""Client of all brokers of a household at once, for a command that publishes what they retain."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from listener.mqtt.client import (
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    RejectedEvent,
    SelectableBroker,
    Waitable,
)
from listener.mqtt.connections import wait_for_any

_log = logging.getLogger(__name__)


class BroadcastBroker:
    """Client that publishes at every broker that answers. For one thread.

    A broker that does not answer is named in the log and left out; without any, the loss is an
    event. A message counts as delivered when every other broker has acknowledged it.

    Args:
        brokers: a client of each; at least one.
        wall_s: seconds since 1970, for what is retained; see ``Message.published_ms``.
    """

    def __init__(
        self, brokers: Sequence[SelectableBroker], wall_s: Callable[[], float] = time.time
    ) -> None:
        self._wall_s = wall_s
        self._brokers: Final = list(brokers)
        self._lost: set[int] = set()
        self._connected: set[int] = set()
        self._is_announced = False
        self._first: ConnectedEvent | None = None
        self._open: dict[int, set[tuple[int, int]]] = {}
        self._next_ticket = 1

    def connect(self) -> None:
        """Connect to each in turn."""
        self._lost.clear()
        self._connected.clear()
        self._is_announced = False
        for broker in self._brokers:
            broker.connect()

    def subscribe(self, pattern: str) -> None:
        """Subscribe at each."""
        for number in self._connected:
            self._brokers[number].subscribe(pattern)

    def publish(self, message: Message) -> int:
        """Publish at each; return the ticket of all."""
        if message.retain:
            message = replace(message, published_ms=int(self._wall_s() * 1000))
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        self._open[ticket] = {
            (number, self._brokers[number].publish(message)) for number in self._connected
        }
        return ticket

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Return the events of all; see ``Broker.poll``."""
        live = [each for number, each in enumerate(self._brokers) if number not in self._lost]
        wait_for_any(live)(longest_s, also)
        found: list[BrokerEvent] = []
        for number, broker in enumerate(self._brokers):
            if number not in self._lost:
                for event in broker.poll(0.0):
                    found += self._merge(number, event)
        return found

    def close(self) -> None:
        """Disconnect from all."""
        for broker in self._brokers:
            broker.close()

    def _merge(self, number: int, event: BrokerEvent) -> list[BrokerEvent]:
        match event:
            case ConnectedEvent():
                self._connected.add(number)
                self._first = self._first or event
                return self._announce()
            case ConnectionLostEvent():
                self._connected.discard(number)
                self._lost.add(number)
                if len(self._lost) == len(self._brokers):
                    return [event]
                _log.warning(
                    "no connection to the broker%s; run the command again when it answers",
                    event.describe(),
                )
                return [*self._announce(), *self._delivered(number, None)]
            case DeliveredEvent(ticket=ticket):
                return self._delivered(number, ticket)
            case RejectedEvent(ticket=ticket):
                mine = [key for key, parts in self._open.items() if (number, ticket) in parts]
                return [RejectedEvent(key, event.code, event.reason) for key in mine]
            case _:
                return [event]

    def _announce(self) -> list[BrokerEvent]:
        """Return the one event of the connection, once every broker has answered or failed."""
        settled = len(self._connected) + len(self._lost) == len(self._brokers)
        if not settled or self._is_announced or self._first is None:
            return []
        self._is_announced = True
        return [self._first]

    def _delivered(self, number: int, ticket: int | None) -> list[BrokerEvent]:
        """Return the events of the messages that every broker has acknowledged now.

        Args:
            number: of the broker.
            ticket: of the message that it acknowledged; None for all, because it was lost.
        """
        done: list[BrokerEvent] = []
        for key, parts in list(self._open.items()):
            left = {part for part in parts if part[0] != number or ticket not in {None, part[1]}}
            if left != parts:
                self._open[key] = left
                if not left:
                    del self._open[key]
                    done.append(DeliveredEvent(key))
        return done
