"""Client of one of several brokers: the first that answers, in order of preference.

A speaker has one connection. When it fails, or the broker is silent, the next attempt is made with
the next broker of the list. After a while the client tries those before it again, beside the
connection that it has, and changes over when one answers and no message is under way.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from listener.config import BrokerSettings
from listener.mqtt.background_connect import BackgroundConnectBroker, wait_readable
from listener.mqtt.client import (
    Broker,
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    RejectedEvent,
    SelectableBroker,
    Waitable,
)

RETURN_S: Final = 300.0
"""Time on another broker after which the preferred ones are tried again."""
LONGEST_RETURN_S: Final = 3600.0
"""The same after attempts without success: each pause is twice as long as the one before."""
SILENT_S: Final = 10.0
"""Time without any event of a broker in which it acknowledged no message: it is silent. The
keep-alive of MQTT finds a silent broker as well, and takes up to twice ``broker.keepalive_s``."""

_log = logging.getLogger(__name__)


def failover_client(
    settings: BrokerSettings, make: Callable[[BrokerSettings], SelectableBroker]
) -> Broker:
    """Return the client of the one configured broker, or of the first of several that answers.

    Args:
        settings: one broker or several.
        make: returns the client of one broker.

    Raises:
        ConfigError: a setting or a configured file is invalid.
    """
    brokers = [make(one) for one in settings.each()]
    if len(brokers) == 1:
        return brokers[0]
    return FailoverBroker([BackgroundConnectBroker(broker) for broker in brokers])


class FailoverBroker:
    """Client of the first of several brokers that answers. For one thread.

    Args:
        brokers: clients that connect in the background, in order of preference; at least one.
        monotonic_s: monotonic clock, in seconds.
    """

    def __init__(
        self,
        brokers: Sequence[SelectableBroker],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._brokers: Final = tuple(brokers)
        self._monotonic_s = monotonic_s
        self._current = 0
        self._address = ""
        self._connected = False
        self._in_flight: set[int] = set()
        self._heard_s = 0.0
        self._trial: int | None = None
        self._trial_event: ConnectedEvent | None = None
        self._return_pause_s = RETURN_S
        self._return_s = float("inf")

    def connect(self) -> None:
        """Start to connect to the current broker; ``poll`` returns the result."""
        self._end_trial()
        self._connected = False
        self._in_flight.clear()
        self._brokers[self._current].connect()

    def subscribe(self, pattern: str) -> None:
        """Subscribe at the current broker."""
        self._brokers[self._current].subscribe(pattern)

    def publish(self, message: Message) -> int:
        """Publish at the current broker; see ``Broker.publish``."""
        ticket = self._brokers[self._current].publish(message)
        if ticket and message.qos:
            if not self._in_flight:
                self._heard_s = self._monotonic_s()
            self._in_flight.add(ticket)
        return ticket

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Wait for events of the current broker; see ``Broker.poll``."""
        current = self._brokers[self._current]
        if self._trial is None:
            events = current.poll(longest_s, also)
        else:
            trial = self._brokers[self._trial]
            ready = current.is_ready() or trial.is_ready()
            waitables = (*current.descriptors(), *trial.descriptors(), *also)
            wait_readable(waitables, 0.0 if ready else longest_s)
            events = current.poll(0.0)
        handled = [self._note(event) for event in events]
        if self._connected and self._is_silent():
            current.close()
            handled.append(
                self._note(ConnectionLostEvent("the broker is silent", address=self._address))
            )
        if self._connected:
            handled += self._try_preferred()
        return handled

    def close(self) -> None:
        """Disconnect, so that no last will is published."""
        self._end_trial()
        self._brokers[self._current].close()

    def _note(self, event: BrokerEvent) -> BrokerEvent:
        now_s = self._heard_s = self._monotonic_s()
        match event:
            case ConnectedEvent():
                self._on_connected(event, now_s)
            case ConnectionLostEvent():
                self._end_trial()
                self._connected = False
                self._in_flight.clear()
                self._current = (self._current + 1) % len(self._brokers)
            case DeliveredEvent(ticket=ticket) | RejectedEvent(ticket=ticket):
                self._in_flight.discard(ticket)
            case _:
                pass
        return event

    def _on_connected(self, event: ConnectedEvent, now_s: float) -> None:
        self._connected = True
        self._address = event.address
        if self._current == 0:
            self._return_pause_s, self._return_s = RETURN_S, float("inf")
        else:
            self._return_s = now_s + self._return_pause_s

    def _is_silent(self) -> bool:
        return bool(self._in_flight) and self._monotonic_s() - self._heard_s > SILENT_S

    def _try_preferred(self) -> list[BrokerEvent]:
        """Try the brokers before the current one when it is time; change over to one that answers.

        Returns:
            The event of the connection to which the client changed over, if it did.
        """
        if self._trial is None:
            if self._monotonic_s() < self._return_s:
                return []
            self._begin_trial(0)
        events = [] if self._trial is None else self._brokers[self._trial].poll(0.0)
        for event in events:
            if isinstance(event, ConnectedEvent):
                self._trial_event = event
            elif isinstance(event, ConnectionLostEvent):
                self._trial_failed()
        if self._trial is None or self._trial_event is None or self._in_flight:
            return []
        event, self._trial_event = self._trial_event, None
        current, self._current, self._trial = self._current, self._trial, None
        self._brokers[current].close()
        _log.info("returned to the broker at %s", event.address)
        self._return_pause_s = RETURN_S
        self._on_connected(event, self._monotonic_s())
        return [event]

    def _begin_trial(self, number: int) -> None:
        self._trial, self._trial_event = number, None
        self._brokers[number].connect()

    def _trial_failed(self) -> None:
        """Try the next broker that is preferred to the current one, or pause."""
        failed = self._trial or 0
        self._end_trial()
        if failed + 1 < self._current:
            self._begin_trial(failed + 1)
            return
        self._return_pause_s = min(2 * self._return_pause_s, LONGEST_RETURN_S)
        self._return_s = self._monotonic_s() + self._return_pause_s

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._brokers[self._trial].close()
        self._trial = self._trial_event = None
