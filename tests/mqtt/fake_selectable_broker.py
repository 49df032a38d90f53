"""A client whose events a test gives, with the clock of the test."""

import os
from collections import deque
from collections.abc import Sequence

from listener.mqtt.client import BrokerEvent, BrokerLimits, ConnectedEvent, Message, Waitable
from tests.send.conftest import FakeClock


class FakeSelectableBroker:
    """Client of one of several brokers; ``answers`` says whether an attempt succeeds."""

    def __init__(self, address: str, clock: FakeClock) -> None:
        self.address = address
        self.events: deque[BrokerEvent] = deque()
        self.calls: list[object] = []
        self.is_open = False
        self._clock = clock
        self._tickets = 0
        self._event = os.eventfd(0)

    def fileno(self) -> int:
        return self._event

    def accept(self) -> None:
        """Let the connection begin."""
        self.is_open = True
        self.events.append(ConnectedEvent(BrokerLimits(), "5", self.address))

    def connect(self) -> None:
        self.calls.append("connect")

    def subscribe(self, pattern: str) -> None:
        self.calls.append(pattern)

    def publish(self, message: Message) -> int:
        self.calls.append(message)
        self._tickets += 1
        return self._tickets

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        del also
        if not self.events:
            self._clock.now_s += longest_s
        events = list(self.events)
        self.events.clear()
        return events

    def descriptors(self) -> Sequence[Waitable]:
        return (self,)

    def is_ready(self) -> bool:
        return bool(self.events)

    def close(self) -> None:
        self.is_open = False
        self.calls.append("close")
