"""Connections of a service to several brokers."""

import pytest

from listener.mqtt.client import ConnectedEvent, ConnectionLostEvent, Message
from listener.mqtt.connections import (
    BrokerClients,
    BrokerConnections,
    ReconnectPauses,
    wait_for_any,
)
from tests.mqtt.fake_selectable_broker import FakeSelectableBroker
from tests.send.conftest import FakeClock

PAUSES = ReconnectPauses(first_s=1.0, longest_s=4.0, spread=0.0, steady_s=5.0)
LOST = ConnectionLostEvent("refused")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def two(clock: FakeClock) -> list[FakeSelectableBroker]:
    return [FakeSelectableBroker(name, clock) for name in ("a:1", "b:1")]


@pytest.fixture
def connections(two: list[FakeSelectableBroker], clock: FakeClock) -> BrokerConnections:
    return BrokerConnections(BrokerClients(tuple(two), wait_for_any(two)), PAUSES, clock)


def test_each_connection_has_attempts_of_its_own(
    connections: BrokerConnections, two: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    list(connections.poll(0.0))
    two[0].accept()
    two[1].events.append(LOST)

    found = [(one.broker, event) for one, event in connections.poll(0.0)]

    assert [(broker, type(event)) for broker, event in found] == [
        (two[0], ConnectedEvent),
        (two[1], ConnectionLostEvent),
    ]
    assert connections.is_connected
    list(connections.poll(0.0))
    assert [one.calls for one in two] == [["connect"], ["connect"]]
    clock.now_s += 1
    list(connections.poll(0.0))
    assert [one.calls for one in two] == [["connect"], ["connect", "connect"]]


def test_message_goes_to_every_broker_that_is_connected(
    connections: BrokerConnections, two: list[FakeSelectableBroker]
) -> None:
    message = Message("a", b"")
    list(connections.poll(0.0))
    two[1].accept()
    list(connections.poll(0.0))

    connections.publish(message)
    two[0].accept()
    list(connections.poll(0.0))
    connections.publish(message)

    assert [one.calls.count(message) for one in two] == [1, 2]


def test_loss_of_all_is_no_connection(
    connections: BrokerConnections, two: list[FakeSelectableBroker]
) -> None:
    list(connections.poll(0.0))
    two[0].accept()
    list(connections.poll(0.0))
    two[0].events.append(LOST)
    list(connections.poll(0.0))

    assert not connections.is_connected
    connections.close()
    assert all(one.calls[-1] == "close" for one in two)
