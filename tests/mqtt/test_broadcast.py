"""One client for all brokers."""

import pytest

from listener.mqtt.broadcast import BroadcastBroker
from listener.mqtt.client import (
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    RejectedEvent,
)
from tests.mqtt.fake_selectable_broker import FakeSelectableBroker
from tests.send.conftest import FakeClock

LOST = ConnectionLostEvent("refused", address="b:1")
MESSAGE = Message("a", b"")


@pytest.fixture
def two() -> list[FakeSelectableBroker]:
    clock = FakeClock()
    return [FakeSelectableBroker(name, clock) for name in ("a:1", "b:1")]


@pytest.fixture
def broker(two: list[FakeSelectableBroker]) -> BroadcastBroker:
    made = BroadcastBroker(two)
    made.connect()
    return made


def test_connection_is_reported_when_each_has_answered(
    broker: BroadcastBroker, two: list[FakeSelectableBroker]
) -> None:
    two[0].accept()
    assert broker.poll(0.0) == []
    two[1].accept()
    assert [type(event) for event in broker.poll(0.0)] == [ConnectedEvent]


def test_message_is_delivered_when_each_has_acknowledged_it(
    broker: BroadcastBroker, two: list[FakeSelectableBroker]
) -> None:
    for one in two:
        one.accept()
    broker.poll(0.0)
    ticket = broker.publish(MESSAGE)
    two[0].events.append(DeliveredEvent(1))
    assert broker.poll(0.0) == []
    two[1].events.append(DeliveredEvent(1))
    assert broker.poll(0.0) == [DeliveredEvent(ticket)]


def test_broker_without_an_answer_is_named_and_left_out(
    broker: BroadcastBroker, two: list[FakeSelectableBroker], caplog: pytest.LogCaptureFixture
) -> None:
    two[0].accept()
    two[1].events.append(LOST)
    assert [type(event) for event in broker.poll(0.0)] == [ConnectedEvent]
    ticket = broker.publish(MESSAGE)
    two[0].events.append(DeliveredEvent(1))
    assert broker.poll(0.0) == [DeliveredEvent(ticket)]
    assert "at b:1: refused; run the command again" in caplog.text


def test_loss_in_between_completes_what_the_others_have(
    broker: BroadcastBroker, two: list[FakeSelectableBroker]
) -> None:
    for one in two:
        one.accept()
    broker.poll(0.0)
    ticket = broker.publish(MESSAGE)
    two[0].events.append(DeliveredEvent(1))
    two[1].events.append(LOST)
    assert broker.poll(0.0) == [DeliveredEvent(ticket)]


def test_loss_of_all_is_an_event(broker: BroadcastBroker, two: list[FakeSelectableBroker]) -> None:
    for one in two:
        one.events.append(LOST)
    assert broker.poll(0.0) == [LOST]


def test_rejection_has_the_ticket_of_the_message(
    broker: BroadcastBroker, two: list[FakeSelectableBroker]
) -> None:
    for one in two:
        one.accept()
    broker.poll(0.0)
    broker.publish(MESSAGE)
    ticket = broker.publish(MESSAGE)
    two[1].events.append(RejectedEvent(2, 0x87, "no"))
    assert broker.poll(0.0) == [RejectedEvent(ticket, 0x87, "no")]
