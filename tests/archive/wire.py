"""A broker that is none, and a clock that waits for nobody."""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from listener.mqtt.client import BrokerEvent, Message, Waitable

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock


class FakeBroker:
    def __init__(self, clock: "FakeClock") -> None:
        self.happens: deque[BrokerEvent] = deque()
        self.did: list[object] = []
        self._clock = clock

    def connect(self) -> None:
        self.did.append("connect")

    def subscribe(self, pattern: str) -> None:
        self.did.append(pattern)

    def publish(self, message: Message) -> int:
        self.did.append(message)
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        if not self.happens:
            self._clock.now_s += longest_s
        happened = list(self.happens)
        self.happens.clear()
        return happened

    def close(self) -> None:
        self.did.append("close")
