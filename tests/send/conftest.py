"""A spool in a folder and a broker that only writes down."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from listener.config import SpoolSettings
from listener.ipc.notice_socket import NoticeSender, NoticeSocket
from listener.mqtt.client import BrokerEvent, Message, Waitable
from listener.spool.queue import Spool
from tests.ports import find_free_port


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeBroker:
    """Tells what the test puts into ``happens``; keeps what it is given. Polling takes time."""

    def __init__(self, clock: FakeClock) -> None:
        self.happens: deque[BrokerEvent] = deque()
        self.published: list[Message] = []
        self.subscribed: list[str] = []
        self.connects = 0
        self.connected_s = 0.0
        self.closed = False
        self.full = False
        self._clock = clock

    def connect(self) -> None:
        self.connects += 1
        self.connected_s = self._clock.now_s

    def subscribe(self, pattern: str) -> None:
        self.subscribed.append(pattern)

    def publish(self, message: Message) -> int:
        if self.full:
            return 0
        self.published.append(message)
        return len(self.published)

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        if not self.happens:
            self._clock.now_s += longest_s
        happened = list(self.happens)
        self.happens.clear()
        return happened

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> FakeBroker:
    return FakeBroker(clock)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", SpoolSettings())


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody answers."""
    return find_free_port()


@pytest.fixture
def notice_socket(tmp_path: Path) -> Iterator[NoticeSocket]:
    made = NoticeSocket(tmp_path / "notices.sock")
    yield made
    made.close()


@pytest.fixture
def notifier(tmp_path: Path) -> Iterator[NoticeSender]:
    made = NoticeSender(tmp_path / "notices.sock")
    yield made
    made.close()
