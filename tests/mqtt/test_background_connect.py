"""Attempts to connect in a thread of their own."""

import threading
from collections.abc import Callable

import pytest

from listener.mqtt.background_connect import BackgroundConnectBroker
from listener.mqtt.client import BrokerEvent, ConnectedEvent, Message
from tests.mqtt.fake_selectable_broker import FakeSelectableBroker
from tests.send.conftest import FakeClock

LONG_S = 30.0
CLIP = Message("a/b", b"")


class SlowBroker(FakeSelectableBroker):
    """A client whose attempt lasts until the test lets it end."""

    def __init__(self) -> None:
        super().__init__("a:1", FakeClock())
        self.may_end = threading.Event()
        self.threads: list[str] = []

    def connect(self) -> None:
        super().connect()
        self.threads.append(threading.current_thread().name)
        assert self.may_end.wait(LONG_S)
        self.accept()


@pytest.fixture
def slow() -> SlowBroker:
    return SlowBroker()


def poll_until(broker: BackgroundConnectBroker, holds: Callable[[list[BrokerEvent]], bool]) -> None:
    events: list[BrokerEvent] = []
    for _ in range(1000):
        events += broker.poll(0.1)
        if holds(events):
            return
    raise AssertionError(events)


def is_connected(events: list[BrokerEvent]) -> bool:
    return any(isinstance(event, ConnectedEvent) for event in events)


def test_attempt_delays_nothing(slow: SlowBroker) -> None:
    broker = BackgroundConnectBroker(slow)

    broker.connect()

    assert broker.poll(0.0) == []
    assert broker.publish(CLIP) == 0
    broker.subscribe("x")
    assert slow.calls == ["connect"]
    slow.may_end.set()
    poll_until(broker, is_connected)
    assert broker.publish(CLIP) == 1
    assert slow.threads == ["connect"]


def test_second_call_keeps_the_attempt(slow: SlowBroker) -> None:
    broker = BackgroundConnectBroker(slow)
    broker.connect()
    broker.connect()
    slow.may_end.set()
    poll_until(broker, is_connected)

    assert slow.calls == ["connect"]


def test_close_during_an_attempt_closes_at_its_end(slow: SlowBroker) -> None:
    broker = BackgroundConnectBroker(slow)
    broker.connect()
    broker.close()
    slow.may_end.set()

    poll_until(broker, lambda _: "close" in slow.calls)

    assert not slow.is_open


def test_attempt_after_a_close_has_a_result(slow: SlowBroker) -> None:
    broker = BackgroundConnectBroker(slow)
    broker.connect()
    broker.close()
    broker.connect()
    slow.may_end.set()

    poll_until(broker, is_connected)

    assert slow.is_open
    broker.close()
    assert not slow.is_open


def test_end_of_an_attempt_wakes_who_waits(slow: SlowBroker) -> None:
    broker = BackgroundConnectBroker(slow)
    broker.connect()
    assert not broker.is_ready()
    (wakeup,) = broker.descriptors()
    assert wakeup is not slow
    slow.may_end.set()
    poll_until(broker, is_connected)

    assert broker.descriptors() == (slow,)
