"""A fake MQTT client that advances a fake clock instead of waiting."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from listener.mqtt.client import BrokerEvent, Message, Waitable

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock


class FakeBroker:
    def __init__(self, clock: "FakeClock") -> None:
        self.events: deque[BrokerEvent] = deque()
        self.calls: list[object] = []
        self._clock = clock

    def connect(self) -> None:
        self.calls.append("connect")

    def subscribe(self, pattern: str) -> None:
        self.calls.append(pattern)

    def publish(self, message: Message) -> int:
        self.calls.append(message)
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        if not self.events:
            self._clock.now_s += longest_s
        events = list(self.events)
        self.events.clear()
        return events

    def close(self) -> None:
        self.calls.append("close")
